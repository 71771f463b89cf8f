"""Repairs of a full disk: what stackctl itself has there and nothing uses. Never a file of the user's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import amounts, belongings, host, removal, runstate
from stackctl.repair.change import Change
from stackctl.repair.context import ImpossibleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.belongings import Belonging
    from stackctl.repair.context import Here, Verb


def space(_here: Here, place: str, need: str) -> Change | None:
    """`space PLACE BYTES`: what nothing uses, then compilation caches (they are made again), on the disk of a place, until so
    much is free. Raises ImpossibleError where all of it would not be enough: then nothing is removed.
    """
    missing = int(need) - host.free_on(place)
    device = _device(place)
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
