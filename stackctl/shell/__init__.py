"""Changes of the environment in the words of each shell. Light: `stackctl env` loads it, and of the shells only its own.

A change is (verb, name, value): `set` NAME to a value, `unset` NAME, or `copy` NAME from the variable named by the
value. `copy` lets a shell keep and restore what stood there without the value ever being printed.
"""

from __future__ import annotations

from stackctl.errors import StackError

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Change = tuple[str, str, str]

POSIX = ("sh", "bash", "zsh")
SHELLS = (*POSIX, "fish", "pwsh")
DOCUMENTS = ("dotenv", "json", "claude-settings")
FORMATS = SHELLS + DOCUMENTS
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


def is_name(name: str) -> bool:
    """Whether every shell takes `name` as a variable's name."""
    return bool(name) and _NAME.issuperset(name) and not name[0].isdigit()


def check(changes: Iterable[Change]) -> None:
    """Raise StackError for a name or a value that no shell can hold on one line."""
    for verb, name, value in changes:
        for each in (name, value) if verb == "copy" else (name,):
            if not is_name(each):
                raise StackError(f"{each!r} is not a name that a shell can export")
        if any(ord(ch) < 32 or ord(ch) == 127 for ch in value):
            raise StackError(f"the value of {name} has a control character and cannot be exported")


def lines(shell: str, changes: Iterable[Change]) -> str:
    """What `shell` (one of SHELLS) evaluates to make these changes. Raises StackError as `check` does."""
    wanted = list(changes)
    check(wanted)
    if shell == "fish":
        from stackctl.shell import fish

        return fish.lines(wanted)
    if shell == "pwsh":
        from stackctl.shell import pwsh

        return pwsh.lines(wanted)
    from stackctl.shell import posix

    return posix.lines(wanted)


def exports(variables: Mapping[str, str], unset: Iterable[str] = ()) -> str:
    """Lines for a POSIX shell. Raises StackError as `check` does."""
    removed = [("unset", name, "") for name in unset]
    return lines("sh", [*removed, *(("set", name, value) for name, value in variables.items())])
