"""sh, dash, bash, zsh: `eval "$(stackctl env)"`."""

from __future__ import annotations

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackctl.shell import Change

# no `=` (zsh expands a word that begins with it), no `~`
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+:,./-")


def quote(value: str) -> str:
    r"""`value` as one word (POSIX.1-2024, 2.2.2: nothing is special between single quotes but the quote itself).

    `'"'"'` and not `'\''`: zsh with RC_QUOTES reads two quotes in a row as one.
    """
    if value and _PLAIN.issuperset(value):
        return value
    return "'" + value.replace("'", "'\"'\"'") + "'"


def lines(changes: Iterable[Change]) -> str:
    """One line for each change."""
    return "".join(_line(*each) for each in changes)


def _line(verb: str, name: str, value: str) -> str:
    if verb == "set":
        return f"export {name}={quote(value)}\n"
    if verb == "unset":
        return f"unset {name}\n"
    return f'export {name}="${value}"\n'  # copy: the value is never printed
