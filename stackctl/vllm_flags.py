"""Which parsers an installed vLLM has, read from its files: importing it would take ten seconds and a gigabyte."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TOOL = ("tool_parsers", "_TOOL_PARSERS_TO_REGISTER")  # the package below vllm, and the name of its registry
REASONING = ("reasoning", "_REASONING_PARSERS_TO_REGISTER")
_LARGEST = 1024 * 1024  # bytes; the real files have 8 to 50 KiB
# The tables of vllm/model_executor/models/registry.py (vLLM 0.12 to 0.33).
_WRITE = ("_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS", "_TRANSFORMERS_SUPPORTED_MODELS", "_TRANSFORMERS_BACKEND_MODELS")  # fmt: skip
_JUDGE = (
    "_EMBEDDING_MODELS", "_LATE_INTERACTION_MODELS", "_REWARD_MODELS", "_TOKEN_CLASSIFICATION_MODELS", "_SEQUENCE_CLASSIFICATION_MODELS",
)  # fmt: skip


def tool_parsers(site_packages: Sequence[str]) -> frozenset[str] | None:
    """The values that `--tool-call-parser` takes; None when they cannot be read (no vLLM, or another layout)."""
    return _registered(site_packages, *TOOL)


def reasoning_parsers(site_packages: Sequence[str]) -> frozenset[str] | None:
    """The values that `--reasoning-parser` takes; None when they cannot be read (no vLLM, or another layout)."""
    return _registered(site_packages, *REASONING)


def architectures(site_packages: Sequence[str]) -> tuple[frozenset[str], frozenset[str]] | None:
    """The kinds of model that write, and those that only embed or judge; None when they cannot be read."""
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


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that a misspelt one most likely means, ignoring case and `-` for `_`; None when none is near.

    `cutoff` is how alike they must be (difflib's ratio).
    """
    from difflib import get_close_matches

    by_plain = {_plain(each): each for each in sorted(known)}
    close = get_close_matches(_plain(name), by_plain, n=1, cutoff=cutoff)
    return by_plain[close[0]] if close else None


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")


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
