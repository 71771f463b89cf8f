"""What already stands on this machine and would make Claude Code do something else, named before it bites.

Light: `stackctl env` loads it. Files are only read, never written, and no value of a key is ever in a message.
"""

from __future__ import annotations

import os
import shutil

from stackctl import addresses
from stackctl.clients import claude_names, claude_settings, claude_start_files, proxy
from stackctl.clients.conflicts import YOURS, home_of, jsonc, proxied, shown, text_of
from stackctl.clients.types import Conflict

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

_RC = (
    ".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshrc", ".zshenv", ".zprofile", ".config/fish/config.fish",
)  # fmt: skip
_ENVRC = ".envrc"
_EDITORS = ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf")


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
    contents = claude_settings.contents(environ, cwd)
    strongest = {name: path for path, _, content in contents for name in claude_settings.variables(content)}
    for path, managed, content in contents:
        for name, value in claude_settings.variables(content).items():
            wanted = variables.get(name, "" if name in claude_names.REMOVED else None)
            if (
                wanted is not None
                and value != wanted
                and strongest[name] == path
                and not _harmless(name, value, wanted)
            ):
                what = f"sets {name}{shown(name, value) if value else ' to nothing'}"
                if "$" in value:
                    what += " (no variable is filled in there)"
                if name == "ANTHROPIC_MODEL" and claude_names.is_real(value):
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


def _direnv(environ: Mapping[str, str], cwd: str) -> list[str]:
    """The file that direnv reads at each prompt in this directory: the nearest one above, where there is a direnv."""
    if not environ.get("DIRENV_DIR") and not shutil.which("direnv", path=environ.get("PATH", os.defpath)):
        return []
    while not os.path.isfile(os.path.join(cwd, _ENVRC)) and os.path.dirname(cwd) != cwd:
        cwd = os.path.dirname(cwd)
    return [os.path.join(cwd, _ENVRC)]


def _harmless(name: str, value: str, wanted: str = "") -> bool:
    """The same address, a NO_PROXY that lets loopback through already, a switch that is off, a limit that fits as well."""
    if name == "ANTHROPIC_BASE_URL":
        return addresses.place(value) == addresses.place(wanted) and addresses.parts(value).path in {"", "/"}
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
    folder = claude_settings.folder(environ)
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
    for path in (*(os.path.join(home, name) for name in _RC), *_direnv(environ, cwd)):
        found += [
            Conflict(path, f"line {number} {what}", aside=True)
            for number, what in claude_start_files.lines(text_of(path), url, known="ANTHROPIC_BASE_URL" in environ)
        ]
    for path in _editor_files(home, cwd):
        names = sorted(
            name
            for name, value in _editors(text_of(path)).items()
            if (name in variables and value != variables[name] and not _harmless(name, value, variables[name]))
            or (name in claude_names.REMOVED and value and not _harmless(name, value))
        )
        if names:
            found.append(
                Conflict(
                    path,
                    f"claudeCode.environmentVariables sets {', '.join(names)}: the editor's extension uses these",
                    aside=True,
                )
            )
    return found


def _editor_files(home: str, cwd: str) -> list[str]:
    bases = [os.path.join(home, ".config"), os.path.join(home, "Library", "Application Support")]
    found = [os.path.join(base, name, "User", "settings.json") for base in bases for name in _EDITORS]
    servers = (".vscode-server", ".vscode-server-insiders", ".cursor-server")
    found += [os.path.join(home, name, "data", "Machine", "settings.json") for name in servers]
    return [*found, os.path.join(cwd, ".vscode", "settings.json")]


def _editors(text: str) -> dict[str, str]:
    """The variables in `claudeCode.environmentVariables` of a settings file with comments: a list of {name, value}."""
    if '"claudeCode.environmentVariables"' not in text:
        return {}
    given = jsonc(text).get("claudeCode.environmentVariables")
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in given.items()}
    rows = given if isinstance(given, list) else []
    return {str(each["name"]): str(each.get("value", "")) for each in rows if isinstance(each, dict) and "name" in each}
