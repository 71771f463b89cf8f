"""What already stands on this machine and would make Claude Code do something else, named before it bites.

Light: `stackctl env` loads it. Files are only read, never written, and no value of a key is ever in a message.
"""

from __future__ import annotations

import json
import os

from stackctl.clients import claude_names, proxy
from stackctl.clients.conflicts import YOURS, home_of, proxied, shown, text_of
from stackctl.clients.types import Conflict

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_MANAGED = ("/etc/claude-code", "/Library/Application Support/ClaudeCode")
_RC = (
    ".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshrc", ".zshenv", ".zprofile", ".config/fish/config.fish",
)  # fmt: skip
_EDITORS = ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf")


def settings_files(environ: Mapping[str, str], cwd: str) -> list[tuple[str, bool]]:
    """Claude Code's settings files, weakest first; the bool says whether it is managed (an administrator's)."""
    user = environ.get("CLAUDE_CONFIG_DIR") or os.path.join(home_of(environ), ".claude")
    found = [(os.path.join(user, "settings.json"), False)]
    for name in ("settings.json", "settings.local.json"):
        path = os.path.join(cwd, ".claude", name)
        if path != found[0][0]:
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


def settings_names(environ: Mapping[str, str], cwd: str) -> set[str]:
    """The variables that any settings file sets."""
    return {name for path, _ in settings_files(environ, cwd) for name in _env_of(path)}


def settings_values(environ: Mapping[str, str], cwd: str, names: tuple[str, ...]) -> list[str]:
    """What the settings files set these variables to."""
    found = [_env_of(path) for path, _ in settings_files(environ, cwd)]
    return [str(each[name]) for each in found for name in names if name in each]


def found(variables: Mapping[str, str], environ: Mapping[str, str], cwd: str) -> list[Conflict]:
    """All of it, in the order in which it is said."""
    return [
        *in_environment(environ),
        *in_settings(variables, environ, cwd),
        *elsewhere(variables, environ, cwd),
    ]


def in_settings(variables: Mapping[str, str], environ: Mapping[str, str], cwd: str) -> list[Conflict]:
    """Settings files whose `env` says something else than `variables`: it beats the shell."""
    found = []
    for path, managed in settings_files(environ, cwd):
        content = _read(path)
        for name, value in _object(content, "env").items():
            wanted = variables.get(name, "" if name in claude_names.REMOVED else None)
            if wanted is not None and str(value) != wanted and not _harmless(name, str(value), wanted):
                what = f"sets {name}{shown(name, str(value))}"
                if name == "ANTHROPIC_MODEL" and claude_names.is_real(str(value)):
                    what += " (a real Claude id, which hides the true window)"
                found.append(Conflict(path, what, beats_env=True, beats_launch=managed))
        if content.get("apiKeyHelper"):
            found.append(
                Conflict(path, "names an apiKeyHelper; its key is not used while the token is set", aside=True)
            )
        allowed = content.get("availableModels")
        model = variables.get("ANTHROPIC_MODEL", "")
        if isinstance(allowed, list) and model not in allowed:
            what = f"allows a list of models (availableModels) that {model} is not in"
            found.append(Conflict(path, what, beats_env=True, beats_launch=managed))
    return found


def _harmless(name: str, value: str, wanted: str = "") -> bool:
    """A NO_PROXY that lets loopback through already, a switch that is off, a limit that fits as well."""
    if name in proxy.NAMES:
        return not proxy.in_the_way({"NO_PROXY": value, "HTTP_PROXY": "x"})
    if name in claude_names.LIMITS:
        return not claude_names.unfit(name, value, wanted)
    return name in claude_names.SWITCHES and value.lower() in {"", "0", "false", "no", "off"}


def in_environment(environ: Mapping[str, str]) -> list[Conflict]:
    """Variables of the shell that `env` and `launch` take away or merge."""
    found = []
    if environ.get("ANTHROPIC_API_KEY"):
        found.append(
            Conflict(
                YOURS,
                "sets ANTHROPIC_API_KEY, which would be sent beside the token: it is unset",
            )
        )
    found += [
        Conflict(
            YOURS,
            f"sets {name}, which would make Claude Code ignore the gateway: it is unset",
        )
        for name in claude_names.REMOVED[1:]
        if environ.get(name) and not _harmless(name, environ[name])
    ]
    return found + proxied(environ)


def elsewhere(variables: Mapping[str, str], environ: Mapping[str, str], cwd: str) -> list[Conflict]:
    """What else can surprise: a login, rc files, an editor's own variables, a Claude Code around this one."""
    found = []
    home = home_of(environ)
    folder = environ.get("CLAUDE_CONFIG_DIR") or os.path.join(home, ".claude")
    if os.path.exists(os.path.join(folder, ".credentials.json")):
        found.append(
            Conflict(
                os.path.join(folder, ".credentials.json"),
                "holds a stored login; it stays as it is and is not used while the token is set",
                aside=True,
            )
        )
    if environ.get("CLAUDECODE"):
        found.append(
            Conflict(
                YOURS,
                "says that this runs inside another Claude Code (CLAUDECODE); its session markers are inherited",
                aside=True,
            )
        )
    url = variables.get("ANTHROPIC_BASE_URL", "")
    found += [
        Conflict(path, f"line {number} sets ANTHROPIC_BASE_URL to another address: new shells start with it", aside=True)
        for path in (os.path.join(home, name) for name in _RC)
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if _sets_another(line, url)
    ]  # fmt: skip
    for path in _editor_files(home, cwd):
        names = sorted(set(_editor_names(text_of(path))) & {*variables, *claude_names.REMOVED})
        if names:
            found.append(
                Conflict(
                    path,
                    f"claudeCode.environmentVariables sets {', '.join(names)}: the editor's extension uses these",
                    aside=True,
                )
            )
    return found


def _sets_another(line: str, url: str) -> bool:
    words = line.strip()
    if words.startswith("#") or "ANTHROPIC_BASE_URL" not in words or "stackctl" in words:
        return False
    after = words.partition("ANTHROPIC_BASE_URL")[2]
    return after[:1] in {"=", " "} and after.strip(" ='\"").rstrip("'\" ;") not in {url, ""}


def _editor_files(home: str, cwd: str) -> list[str]:
    bases = [os.path.join(home, ".config"), os.path.join(home, "Library", "Application Support")]
    found = [os.path.join(base, name, "User", "settings.json") for base in bases for name in _EDITORS]
    servers = (".vscode-server", ".vscode-server-insiders", ".cursor-server")
    found += [os.path.join(home, name, "data", "Machine", "settings.json") for name in servers]
    return [*found, os.path.join(cwd, ".vscode", "settings.json")]


def _editor_names(text: str) -> list[str]:
    """The names in `claudeCode.environmentVariables` of a settings file with comments: a list of {name, value}."""
    _, found, rest = text.partition('"claudeCode.environmentVariables"')
    if not found:
        return []
    block = rest[: rest.find("]") + 1] if rest.lstrip(" :\t\r\n").startswith("[") else rest[: rest.find("}") + 1]
    return [piece for piece in block.split('"') if piece.replace("_", "").isalnum() and piece.upper() == piece]


def _env_of(path: str) -> dict[str, Any]:
    return _object(_read(path), "env")


def _read(path: str) -> dict[str, Any]:
    text = text_of(path)
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}  # Claude Code itself says that the file is broken
    return found if isinstance(found, dict) else {}


def _object(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    return found if isinstance(found, dict) else {}
