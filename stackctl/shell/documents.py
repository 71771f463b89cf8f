"""The environment as a file that something else reads: dotenv, JSON, a Claude Code settings fragment."""

from __future__ import annotations

import json

from stackctl import shell
from stackctl.errors import StackError

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+:,./-")


def dotenv(variables: Mapping[str, str]) -> str:
    """Lines of a `.env` file.

    The readers (direnv, mise, Node, python-dotenv, docker, a shell's `.`) share two forms only: a bare word, and single
    quotes without escapes. Raises StackError for a value that has neither, and as `shell.check` does.
    """
    shell.check(("set", name, value) for name, value in variables.items())
    lines = []
    for name, value in variables.items():
        if value and _BARE.issuperset(value):
            lines.append(f"{name}={value}\n")
        elif "'" in value or "${" in value or "\\" in value:
            raise StackError(
                f"the value of {name} cannot be written in a form that all readers of dotenv files share",
                remedy="stackctl env --shell json",
            )
        else:
            lines.append(f"{name}='{value}'\n")
    return "".join(lines)


def as_json(variables: Mapping[str, str], unset: Sequence[str]) -> str:
    """The environment and the names that must not be set, in the envelope of every `--json`."""
    return json.dumps({"schema": 1, "data": {"env": dict(variables), "unset": list(unset)}}, indent=2) + "\n"


def claude_settings(settings: Mapping[str, Any]) -> str:
    """A Claude Code settings file, or what to paste into one."""
    return json.dumps(settings, indent=2) + "\n"
