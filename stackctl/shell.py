"""Lines that a shell can `eval`. Light: `stackctl env` loads it."""

from __future__ import annotations

from stackctl.errors import StackError

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_PLAIN = _NAME | frozenset("@%+=:,./-")


def quote(value: str) -> str:
    """`value` as one word of a POSIX shell."""
    if value and _PLAIN.issuperset(value):
        return value
    return "'" + value.replace("'", "'\"'\"'") + "'"


def exports(variables: Mapping[str, str], unset: tuple[str, ...] = ()) -> str:
    """POSIX `export` lines. Raises StackError for a name or a value that no shell can hold on one line."""
    lines = [f"unset {name}\n" for name in unset]
    for name, value in variables.items():
        if not name or not _NAME.issuperset(name) or name[0].isdigit():
            raise StackError(f"{name!r} is not a name that a shell can export")
        if any(ord(ch) < 32 or ord(ch) == 127 for ch in value):
            raise StackError(f"the value of {name} has a control character and cannot be exported")
        lines.append(f"export {name}={quote(value)}\n")
    return "".join(lines)
