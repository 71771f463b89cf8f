"""What an installed vLLM has, read from its files: importing it would take ten seconds and a gigabyte.

Each answer is None where it cannot be read: there is no vLLM, or one of another layout.
"""

from __future__ import annotations

import ast
import os
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TOOL = ("tool_parsers", "_TOOL_PARSERS_TO_REGISTER")  # the package below vllm, and the name of its registry
REASONING = ("reasoning", "_REASONING_PARSERS_TO_REGISTER")
# The tables of vllm/model_executor/models/registry.py (vLLM 0.12 to 0.33).
_WRITE = ("_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS", "_TRANSFORMERS_SUPPORTED_MODELS", "_TRANSFORMERS_BACKEND_MODELS")  # fmt: skip
_JUDGE = (
    "_EMBEDDING_MODELS", "_LATE_INTERACTION_MODELS", "_REWARD_MODELS", "_TOKEN_CLASSIFICATION_MODELS", "_SEQUENCE_CLASSIFICATION_MODELS",
)  # fmt: skip
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


def tool_parsers(site_packages: Sequence[str]) -> frozenset[str] | None:
    """The values that `--tool-call-parser` takes."""
    return _registered(site_packages, *TOOL)


def reasoning_parsers(site_packages: Sequence[str]) -> frozenset[str] | None:
    """The values that `--reasoning-parser` takes."""
    return _registered(site_packages, *REASONING)


def architectures(site_packages: Sequence[str]) -> tuple[frozenset[str], frozenset[str]] | None:
    """The kinds of model that write, and those that only embed or judge."""
    for directory in site_packages:
        path = os.path.join(directory, "vllm", "model_executor", "models", "registry.py")
        try:
            with open(path, "rb") as stream:
                tree = ast.parse(stream.read(_LARGEST))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        found = dict(map(_names, tree.body))
        if found.get(_WRITE[0]):
            empty: frozenset[str] = frozenset()
            writes, judges = (empty.union(*(found.get(each, empty) for each in tables)) for tables in (_WRITE, _JUDGE))
            return writes, judges
    return None


def _names(node: ast.stmt) -> tuple[str, frozenset[str]]:
    """The name of a literal dictionary that a line assigns, and its keys; empty for any other line."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
        return "", frozenset()
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    keys = (key.value for key in node.value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
    return (target.id if isinstance(target, ast.Name) else ""), frozenset(keys)


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


def transformers_has(site_packages: Sequence[str], model_type: str) -> bool:
    """Whether the transformers beside it has this kind of model (a `config.json`'s `model_type`) itself."""
    name = model_type.replace("-", "_")
    return name.isidentifier() and any(
        os.path.isdir(os.path.join(place, "transformers", "models", name)) for place in site_packages
    )


def table(source: bytes, name: str) -> dict[str, str]:
    """The literal registry `name` in a module's source: {parser: "module.Class"}; empty when it is not there.

    Raises what `ast.parse` raises.
    """
    for node in ast.parse(source).body:
        if found := _entries(node, name):
            return found
    return {}


def _registered(site_packages: Sequence[str], package: str, name: str) -> frozenset[str] | None:
    """The keys of the literal dictionary `name` in vllm/<package>/__init__.py (the shape of vLLM 0.12 to 0.33)."""
    for directory in site_packages:
        path = os.path.join(directory, "vllm", package, "__init__.py")
        try:
            with open(path, "rb") as stream:
                found = table(stream.read(_LARGEST), name)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # absent, or not what we know how to read: unknown is not an error here
        if found:
            return frozenset(found)
    return None


def _entries(node: ast.stmt, name: str) -> dict[str, str]:
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return {}
    if not any(isinstance(target, ast.Name) and target.id == name for target in targets):
        return {}
    if not isinstance(value, ast.Dict):
        return {}
    return {
        key.value: _class(each)
        for key, each in zip(value.keys, value.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def _class(node: ast.expr) -> str:
    """`("module", "Class")` as `module.Class`; empty for anything else."""
    parts = node.elts if isinstance(node, ast.Tuple) else []
    return ".".join(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))


def _text(places: Sequence[str], file: str) -> str:
    for place in places:
        try:
            with open(os.path.join(place, file), encoding="utf-8", errors="replace") as stream:
                return stream.read(_LARGEST)
        except OSError:
            continue
    return ""
