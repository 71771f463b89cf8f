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
    programs = _programs(environ)
    return _of(os.path.realpath(programs[0])) if programs else None


def behind(environ: Mapping[str, str]) -> list[str]:
    """`PATH VERSION` of each other `claude` that PATH has behind the one that is run."""
    programs = {os.path.realpath(each): each for each in reversed(_programs(environ))}
    found = [(each, _of(real)) for real, each in reversed(programs.items())][1:]
    return [f"{each} {'.'.join(map(str, version))}" for each, version in found if version is not None]


def _programs(environ: Mapping[str, str]) -> list[str]:
    paths = [os.path.join(each or ".", "claude") for each in environ.get("PATH", "").split(os.pathsep)]
    return [path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)]


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
