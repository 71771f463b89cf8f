"""Repairs of a full disk: what stackctl itself has there and nothing uses. Never a file of the user's."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from stackctl import amounts, belongings, host, removal, runstate
from stackctl.repair.change import Change
from stackctl.repair.context import ImpossibleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.belongings import Belonging
    from stackctl.repair.context import Here, Verb

_PLACE = re.compile(r"on the disk of (?P<place>/.+)$")
_NEED = re.compile(r" needs (?P<need>[\d.]+) GB ")


def space(here: Here) -> Change | None:
    """What nothing uses, then compilation caches (they are made again), on the disk that the finding names, as far as is
    needed. Raises ImpossibleError where all of it would not be enough: then nothing is removed.
    """
    said = _PLACE.search(here.finding.cause)
    if said is None:
        return None
    need = _NEED.search(here.finding.cause)
    wanted = float(need["need"]) * 1e9 if need is not None else float(host.DISK_FLOOR)
    missing = wanted - host.free_on(said["place"])
    device = _device(said["place"])
    taken: list[Belonging] = []
    for each in _unused():
        gives = belongings.occupied(each.path) if os.lstat(each.path).st_dev == device else 0
        if missing > 0 and gives:
            taken.append(each)
            missing -= gives
    if missing > 0:
        less = amounts.of_bytes(missing)
        raise ImpossibleError(f"with all that stackctl could give back there, {less} would still be missing")
    return Change("remove what nothing uses", removals=tuple(taken)) if taken else None


def _unused() -> Iterator[Belonging]:
    """Garbage first, the largest before the rest; then what is missed for minutes."""
    now = belongings.now()
    garbage = removal.garbage(now)
    yield from sorted(garbage, key=lambda each: -each.size)
    if not any(map(runstate.is_locked, belongings.stacks())):
        known = {each.path for each in garbage}
        yield from (each for each in belongings.caches() if not any(path.startswith(each.path) for path in known))


def _device(path: str) -> int:
    """The file system that a path is, or will be, on."""
    while not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return os.stat(path).st_dev


VERBS: dict[str, Verb] = {"space": space}
