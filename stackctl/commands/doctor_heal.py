"""What heals by itself: a service that its supervisor is starting again needs no repair of doctor's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from stackctl import output, runstate
from stackctl.model import State

if TYPE_CHECKING:
    from stackctl.paths import StackPaths

_LONGEST = 120.0  # seconds; after that it is looked at as it is
_LOOK = 0.2


def awaited(paths: StackPaths | None) -> bool:
    """Wait until the supervisor has started again what died or hung, or has given it up; whether there was such a thing."""
    ends, said = time.monotonic() + _LONGEST, False
    while names := _healing(paths):
        if not said:
            output.note(f"stackctl: its supervisor is starting the {names[0]} again; waiting for it")
            said = True
        if time.monotonic() > ends:
            return False
        time.sleep(_LOOK)
    return said


def _healing(paths: StackPaths | None) -> list[str]:
    state = runstate.running(paths) if paths is not None else None
    return [
        each.name
        for each in (state.services if state is not None else ())
        if each.state is State.RESTARTING or (each.state is State.STARTING and each.restarts)
    ]
