"""What already stands on this machine and would make Claude Code do something else, named before it bites.

Light: `stackctl env` loads it. Files are only read, never written, and no value of a key is ever in a message.
"""

from __future__ import annotations

import json
import os

from stackctl.clients import claude, proxy

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_LARGEST = 1 << 20  # bytes of a file of someone else's that are read
_SECRET = ("KEY", "TOKEN", "SECRET", "HEADERS")
_MANAGED = ("/etc/claude-code", "/Library/Application Support/ClaudeCode")
_RC = (
    ".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshrc", ".zshenv", ".zprofile", ".config/fish/config.fish",
)  # fmt: skip
_EDITORS = ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf")


class Conflict:
    """One thing in the way: where it stands, what it is, and whether the stack's value wins by `env` and by `launch`."""

    __slots__ = ("beats_env", "beats_launch", "what", "where")

    def __init__(self, where: str, what: str, *, beats_env: bool, beats_launch: bool = False) -> None:
        self.where = where
        self.what = what
        self.beats_env = beats_env
        self.beats_launch = beats_launch


def settings_files(environ: Mapping[str, str], cwd: str) -> list[tuple[str, bool]]:
    """Claude Code's settings files, weakest first; the bool says whether it is managed (an administrator's)."""
    user = environ.get("CLAUDE_CONFIG_DIR") or os.path.join(_home(environ), ".claude")
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


def in_settings(variables: Mapping[str, str], environ: Mapping[str, str], cwd: str) -> list[Conflict]:
    """Settings files whose `env` says something else than `variables`: it beats the shell."""
    found = []
    for path, managed in settings_files(environ, cwd):
        for name, value in _env_of(path).items():
            wanted = variables.get(name, "" if name in claude.REMOVED else None)
            if wanted is not None and str(value) != wanted and not _harmless(name, str(value)):
                found.append(
                    Conflict(path, f"sets {name}{_shown(name, str(value))}", beats_env=True, beats_launch=managed)
                )
    return found


def _harmless(name: str, value: str) -> bool:
    """A NO_PROXY that lets loopback through already, a switch that is off."""
    if name in proxy.NAMES:
        return not proxy.in_the_way({"NO_PROXY": value, "HTTP_PROXY": "x"})
    return name in claude.SWITCHES and value.lower() in {"", "0", "false", "no", "off"}


def in_environment(environ: Mapping[str, str]) -> list[Conflict]:
    """Variables of the shell that `env` and `launch` take away or merge."""
    found = []
    if environ.get("ANTHROPIC_API_KEY"):
        found.append(
            Conflict(
                "your environment",
                "sets ANTHROPIC_API_KEY, which would be sent beside the token: it is unset",
                beats_env=False,
            )
        )
    found += [
        Conflict(
            "your environment",
            f"sets {name}, which would make Claude Code ignore the gateway: it is unset",
            beats_env=False,
        )
        for name in claude.REMOVED[1:]
        if environ.get(name) and not _harmless(name, environ[name])
    ]
    return found + proxy_only(environ)


def proxy_only(environ: Mapping[str, str]) -> list[Conflict]:
    """A proxy that would get the requests to loopback too."""
    through = proxy.in_the_way(environ)
    what = f"sets {through}, and NO_PROXY does not except loopback: it is added there"
    return [Conflict("your environment", what, beats_env=False)] if through else []


def elsewhere(variables: Mapping[str, str], environ: Mapping[str, str], cwd: str) -> list[Conflict]:
    """What else can surprise: a login, rc files, an editor's own variables, a Claude Code around this one."""
    found = []
    home = _home(environ)
    folder = environ.get("CLAUDE_CONFIG_DIR") or os.path.join(home, ".claude")
    if os.path.exists(os.path.join(folder, ".credentials.json")):
        found.append(
            Conflict(
                os.path.join(folder, ".credentials.json"),
                "holds a stored login; it stays as it is and is not used while the token is set",
                beats_env=False,
            )
        )
    if environ.get("CLAUDECODE"):
        found.append(
            Conflict(
                "your environment",
                "says that this runs inside another Claude Code (CLAUDECODE); its session markers are inherited",
                beats_env=False,
            )
        )
    url = variables.get("ANTHROPIC_BASE_URL", "")
    found += [
        Conflict(path, f"line {number} sets ANTHROPIC_BASE_URL to another address: new shells start with it", beats_env=False)
        for path in (os.path.join(home, name) for name in _RC)
        for number, line in enumerate(_text(path).splitlines(), 1)
        if _sets_another(line, url)
    ]  # fmt: skip
    for path in _editor_files(home, cwd):
        names = sorted(set(_editor_names(_text(path))) & {*variables, *claude.REMOVED})
        if names:
            found.append(
                Conflict(
                    path,
                    f"claudeCode.environmentVariables sets {', '.join(names)}: the editor's extension uses these",
                    beats_env=False,
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


def wsl_program(path: str, environ: Mapping[str, str]) -> bool:
    """Whether, under WSL, `path` is a program of the Windows side: it does not see this side's 127.0.0.1 nor its files."""
    inside = bool(environ.get("WSL_DISTRO_NAME")) or "microsoft" in _text("/proc/sys/kernel/osrelease").lower()
    real = os.path.realpath(path)
    return inside and (real.startswith("/mnt/") or path.startswith("/mnt/") or real.lower().endswith(".exe"))


def _home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME") or os.path.expanduser("~")


def _env_of(path: str) -> dict[str, Any]:
    text = _text(path)
    if '"env"' not in text:
        return {}
    try:
        found = json.loads(text).get("env")
    except (ValueError, AttributeError):
        return {}  # Claude Code itself says that the file is broken
    return found if isinstance(found, dict) else {}


def _text(path: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(handle, _LARGEST).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(handle)


def _shown(name: str, value: str) -> str:
    """` to VALUE`, unless it may be a secret."""
    if any(word in name.replace("TOKENS", "") for word in _SECRET) or "@" in value or not value.isprintable():
        return ""
    return f" to {value[:80]}"
