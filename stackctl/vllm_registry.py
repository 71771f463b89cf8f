"""What an installed vLLM knows, read from its files: flags, quantisations. None: it cannot be read."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 2 * 1024 * 1024  # bytes; vllm/engine/arg_utils.py has 150 KiB
_FLAG = re.compile(r"""["']--([a-z0-9][a-z0-9-]*)["']""")
_FLAG_FILES = (
    "vllm/engine/arg_utils.py",
    "vllm/entrypoints/openai/cli_args.py",
    "vllm/entrypoints/launchers/cli_args.py",
    "vllm/entrypoints/common/cli_args.py",
    "vllm/entrypoints/openai/api_server.py",
    "vllm/entrypoints/launchers/api_server/cli_args.py",
)
_FIELD = re.compile(r"^    ([a-z][a-z0-9_]*): ", re.MULTILINE)  # of a dataclass that becomes flags
_MANY = 100  # flags; fewer means that they stand elsewhere in this version


def flags(site_packages: Sequence[str]) -> frozenset[str] | None:
    """The flags of its server, without dashes in front."""
    return _flags(tuple(site_packages))


@cache
def _flags(places: tuple[str, ...]) -> frozenset[str] | None:
    texts = {file: _text(places, file) for file in _FLAG_FILES}
    found = {name for text in texts.values() for name in _FLAG.findall(text)}
    found |= {
        name.replace("_", "-") for file, text in texts.items() if "cli_args" in file for name in _FIELD.findall(text)
    }
    return frozenset(found) if len(found) >= _MANY else None


def quantisations(site_packages: Sequence[str]) -> frozenset[str] | None:
    """The methods that a checkpoint's `quantization_config` may name."""
    return _methods(tuple(site_packages))


@cache
def _methods(places: tuple[str, ...]) -> frozenset[str] | None:
    text = _text(places, "vllm/model_executor/layers/quantization/__init__.py")
    found = re.search(r"QuantizationMethods = Literal\[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    return frozenset(re.findall(r'^\s*"([^"]+)"', found[1], re.MULTILINE)) if found else None


def _text(places: Sequence[str], file: str) -> str:
    for place in places:
        try:
            with open(os.path.join(place, file), encoding="utf-8", errors="replace") as stream:
                return stream.read(_LARGEST)
        except OSError:
            continue
    return ""
