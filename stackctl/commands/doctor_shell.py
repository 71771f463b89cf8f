"""The shell that asks doctor: what it is to type, and what is printed for it to evaluate."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import shell
from stackctl.errors import ConfigError
from stackctl.shell import detect, fish, posix, pwsh, undo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.commands.doctor_request import Request

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:-")


def kind() -> str:
    """The shell that asks; empty for one whose language is not known here."""
    try:
        return detect.shell()
    except ConfigError:
        return ""


def typed(request: Request) -> str:
    """The line that mends the variables of the shell that asks."""
    asks = kind()
    return line(asks, request) if asks else "stackctl launch claude   (the language of your shell is not known here)"


def line(kind: str, request: Request) -> str:
    """The line for a shell (one of shell.SHELLS), with what doctor was asked to look at."""
    flags = request.flags
    words = ["stackctl", "doctor", "--fix", "--shell", kind]
    for option, value in (
        ("-c", flags.config), ("--name", flags.name), ("--model", flags.model), ("--url", request.url),
        ("--key-file", request.key_file), *(("--log", each) for each in request.logs),
    ):  # fmt: skip
        words += [option, value] if value is not None else []
    words += ["--static"] if request.static else []
    quote = {"fish": fish.quote, "pwsh": pwsh.quote}.get(kind, posix.quote)
    made = " ".join(each if _BARE.issuperset(each) else quote(each) for each in words)
    if kind == "fish":
        return f"{made} | source"
    return f"{made} | Out-String | Invoke-Expression" if kind == "pwsh" else f'eval "$({made})"'


def printed(kind: str, before: Mapping[str, str]) -> str:
    """What the shell is to evaluate: the difference between its environment and this one, which was mended and proved.

    `env --unset` takes it back. Raises StackError for what no shell can hold, ConfigError where its record cannot be read.
    """
    now = os.environ
    changes: list[shell.Change] = [("unset", name, "") for name in before if name not in now]
    changes += [("set", name, value) for name, value in now.items() if before.get(name) != value]
    return shell.lines(kind, undo.recorded(changes, before)) if changes else ""
