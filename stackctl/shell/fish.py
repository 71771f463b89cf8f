"""fish: `stackctl env | source`."""

from __future__ import annotations

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackctl.shell import Change


def quote(value: str) -> str:
    r"""`value` as one word (fish, "Quotes": between single quotes only `\'` and `\\` are escapes)."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def lines(changes: Iterable[Change]) -> str:
    """One line for each change; the semicolons make `eval (stackctl env)` work too, which joins lines by spaces.

    Global scope (`-g`), so that a universal variable of the same name is hidden, not changed on disk.
    """
    return "".join(_line(*each) for each in changes)


def _line(verb: str, name: str, value: str) -> str:
    if verb == "set":
        return f"set -gx {name} {quote(value)};\n"
    if verb == "unset":
        return f"set -eg {name};\n"
    return f'set -gx {name} "${value}";\n'  # copy: the value is never printed
