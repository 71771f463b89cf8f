"""Which Claude Code is on PATH, without starting it: `env` stands in shell start-up files, and a start takes a second. Light."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE = "@anthropic-ai/claude-code"
_LARGEST = 1 << 16  # bytes of its package.json


def installed(environ: Mapping[str, str]) -> tuple[int, ...] | None:
    """The version; None when there is no `claude`, or a wrapper that does not show it."""
    for directory in environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(directory or ".", "claude")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return _of(os.path.realpath(path))
    return None


def _of(program: str) -> tuple[int, ...] | None:
    """The native installer names the file by its version; npm has a package.json above it."""
    found = _numbers(os.path.basename(program))
    directory = program
    for _ in range(2):
        directory = os.path.dirname(directory)
        found = found or _numbers(_packaged(os.path.join(directory, "package.json")))
    return found


def _packaged(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.loads(stream.read(_LARGEST))
        return str(data["version"]) if data["name"] == _PACKAGE else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _numbers(text: str) -> tuple[int, ...] | None:
    parts = text.partition("-")[0].split(".")
    return tuple(map(int, parts)) if len(parts) == 3 and all(each.isdecimal() for each in parts) else None
