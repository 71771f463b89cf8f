"""PowerShell: `stackctl env --shell pwsh | Out-String | Invoke-Expression`."""

from __future__ import annotations

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackctl.shell import Change

_QUOTES = "'\u2018\u2019\u201a\u201b"  # PowerShell takes the typographic ones for `'` (about_Quoting_Rules)


def quote(value: str) -> str:
    """`value` as one verbatim string: only quotes are special, and are doubled."""
    return "'" + "".join(ch * 2 if ch in _QUOTES else ch for ch in value) + "'"


def lines(changes: Iterable[Change]) -> str:
    """One line for each change."""
    return "".join(_line(*each) for each in changes)


def _line(verb: str, name: str, value: str) -> str:
    if verb == "set":
        return f"$env:{name} = {quote(value)}\n"
    if verb == "unset":
        return f"Remove-Item -ErrorAction SilentlyContinue Env:{name}\n"
    return f"$env:{name} = $env:{value}\n"  # copy: the value is never printed
