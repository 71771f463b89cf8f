"""What `env` set, remembered in the shell itself, so that `env --unset` undoes exactly that. Light.

`STACKCTL_SET` holds the names with a checksum of each value; what stood there before is kept by the shell under
`STACKCTL_SAVED_<NAME>` and is never printed. A variable that the user has changed since is the user's and is left.
"""

from __future__ import annotations

import binascii
import os

from stackctl.errors import ConfigError
from stackctl.shell import is_name

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from stackctl.shell import Change

SET = "STACKCTL_SET"
SAVED = "STACKCTL_SAVED_"
_ABSENT = "-"


def recorded(changes: Iterable[Change], environ: Mapping[str, str]) -> list[Change]:
    """`changes` (set and unset) with what is needed to undo them: what stood there before is copied, our own values are not."""
    ours = _read(environ)
    result: list[Change] = []
    for verb, name, value in changes:
        wanted = _sum(value if verb == "set" else None)
        before = _sum(environ.get(name))
        if ours.get(name) != before:  # not ours until now, or changed by the user since: it is what to go back to
            result += _keep(name, environ)
        ours[name] = wanted
        result.append((verb, name, value))
    result.append(("set", SET, ",".join(f"{name}:{ours[name]}" for name in ours)))
    return result


def _keep(name: str, environ: Mapping[str, str]) -> list[Change]:
    if name in environ:
        return [("copy", SAVED + name, name)]
    return [("unset", SAVED + name, "")] if SAVED + name in environ else []


def undone(environ: Mapping[str, str], trim: Mapping[str, Callable[[str, str], str]]) -> list[Change]:
    """The changes that take everything back; empty when this shell has nothing of ours.

    `trim` gives, by name, how to take our part out of a value that the user has changed since: from the value now and
    the one before. Raises ConfigError when the record cannot be read.
    """
    result: list[Change] = []
    for name, ours in _read(environ).items():
        now, before = environ.get(name), environ.get(SAVED + name)
        if _sum(now) == ours:
            result.append(("unset", name, "") if before is None else ("copy", name, SAVED + name))
        elif name in trim and now is not None:
            left = trim[name](now, before or "")
            result.append(("set", name, left) if left or before is not None else ("unset", name, ""))
        if before is not None:
            result.append(("unset", SAVED + name, ""))
    return [*result, ("unset", SET, "")] if SET in environ else []


def _sum(value: str | None) -> str:
    return _ABSENT if value is None else f"{binascii.crc32(os.fsencode(value)):08x}"


def _read(environ: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in environ.get(SET, "").split(","):
        if each:
            name, _, value = each.partition(":")
            if not is_name(name):
                raise ConfigError(f"${SET} in this shell is not what `stackctl env` wrote", remedy=f"unset {SET}")
            found[name] = value
    return found
