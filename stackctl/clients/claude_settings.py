"""Claude Code's settings files: where they are, what they set, and when it reads nothing of one. Light.

Tried with 2.1.330. `env` of each of them beats the shell, also the one in the file of its state (~/.claude.json).
"""

from __future__ import annotations

import json
import os

from stackctl.clients.conflicts import home_of, text_of

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_MANAGED = ("/etc/claude-code", "/Library/Application Support/ClaudeCode")
_NUMBER = (int, float)
_KINDS: dict[str, tuple[Any, str]] = {  # a value of another kind, and it ignores the whole file
    "env": (dict, "an object of names and values"),
    "model": (str, "text"),
    "apiKeyHelper": (str, "text"),
    "permissions": (dict, "an object"),
    "statusLine": (dict, "an object"),
    "enabledPlugins": (dict, "an object"),
    "availableModels": (list, "a list"),
    "cleanupPeriodDays": (_NUMBER, "a number"),
    "includeCoAuthoredBy": (bool, "true or false"),
}
_RULES = ("allow", "deny", "ask")


def folder(environ: Mapping[str, str]) -> str:
    """Claude Code's own directory of this user."""
    return environ.get("CLAUDE_CONFIG_DIR") or os.path.join(home_of(environ), ".claude")


def state_file(environ: Mapping[str, str]) -> str:
    """The file of its state: logins, answers to its questions, and an `env` of an earlier day."""
    return os.path.join(environ.get("CLAUDE_CONFIG_DIR") or home_of(environ), ".claude.json")


def paths(environ: Mapping[str, str], cwd: str) -> list[tuple[str, bool]]:
    """The settings files, weakest first; the bool says whether it is managed (an administrator's)."""
    user = os.path.join(folder(environ), "settings.json")
    found = [(state_file(environ), False), (user, False)]
    for name in ("settings.json", "settings.local.json"):
        path = os.path.join(cwd, ".claude", name)
        if path != user:
            found.append((path, False))
    for directory in _MANAGED:
        found.append((os.path.join(directory, "managed-settings.json"), True))
        try:
            more = sorted(os.listdir(os.path.join(directory, "managed-settings.d")))
        except OSError:
            more = []
        found += [
            (os.path.join(directory, "managed-settings.d", name), True) for name in more if name.endswith(".json")
        ]
    return found


def read(path: str) -> dict[str, Any]:
    """What Claude Code takes from a file: nothing where it is not JSON, or `refused`."""
    text = text_of(path)
    if path.endswith(".claude.json") and '"env"' not in text:
        return {}  # megabytes of history, mostly
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return {} if refused(found) else found


def refused(content: Any) -> str:
    """Why Claude Code ignores all of a file that is JSON, in words; empty where it does not."""
    if not isinstance(content, dict):
        return "it must be an object: { ... }"
    for name, (kind, words) in _KINDS.items():
        value = content.get(name, ...)
        if value is ... or (value is None and name == "env"):
            continue
        if not isinstance(value, kind) or (kind is _NUMBER and isinstance(value, bool)):
            return f"`{name}` must be {words}"
    rules = content.get("permissions") or {}
    wrong = next((name for name in _RULES if not isinstance(rules.get(name, []), list)), "")
    return f"`permissions.{wrong}` must be a list" if wrong else ""


def contents(environ: Mapping[str, str], cwd: str) -> list[tuple[str, bool, dict[str, Any]]]:
    """`paths`, each with what Claude Code takes from it."""
    return [(path, managed, read(path)) for path, managed in paths(environ, cwd)]


def variables(content: Mapping[str, Any]) -> dict[str, str]:
    """The variables that a file of this content sets, as Claude Code gets them."""
    found = content.get("env") or {}
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in found.items()
        if isinstance(value, str | bool | int | float)
    }


def sources(environ: Mapping[str, str], cwd: str) -> dict[str, tuple[str, str]]:
    """(file, value) of each variable that the settings files set; the strongest file's."""
    found: dict[str, tuple[str, str]] = {}
    for path, _, content in contents(environ, cwd):
        found |= {name: (path, value) for name, value in variables(content).items()}
    return found


def values(names: Sequence[str], environ: Mapping[str, str], cwd: str) -> list[str]:
    """What each settings file sets one of these variables to, weakest first."""
    found = [variables(content) for _, _, content in contents(environ, cwd)]
    return [each[name] for each in found for name in names if name in each]


def value(name: str, environ: Mapping[str, str], cwd: str) -> tuple[str, str]:
    """(file, value) of a setting that is text, from the strongest file that has it; empty ones where none has."""
    found = ("", "")
    for path, _, content in contents(environ, cwd):
        given = content.get(name)
        if isinstance(given, str) and given:
            found = (path, given)
    return found
