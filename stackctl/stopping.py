"""Stop a stack from another process: return only when its tree is empty."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl import identity, runstate

if TYPE_CHECKING:
    from stackctl.paths import StackPaths

_LEAVES = 3.0  # seconds that a supervisor which has let go of everything gets to say so and leave
_DIES = 5.0  # seconds that a killed supervisor's guards get to take their trees down


@dataclass(frozen=True, slots=True)
class StopReport:
    """What stopping found and did. `lines` are for people; `clean` says that nothing of the stack is left.

    `again` says that another command has started the stack anew since.
    """

    was_running: bool
    clean: bool
    lines: tuple[str, ...] = ()
    again: bool = False


def stop(paths: StackPaths, *, immediate: bool = False, timeout: float = 30.0) -> StopReport:
    """Stop the stack and wait until nothing of it is left.

    The supervisor is asked (TERM; QUIT when `immediate`) and given `timeout` seconds; one that does not react is
    killed, and its guards take the services down. Without a living supervisor, what a dead one left is removed.
    """
    if not os.path.isdir(paths.root):
        return StopReport(was_running=False, clean=True)
    owner = runstate.holder(paths)
    lines: list[str] = []
    if owner is not None:
        # The stopped (SIGSTOP) hear nothing. QUIT, not a second TERM: two pending TERMs are one.
        identity.send(owner, signal.SIGQUIT if immediate else signal.SIGTERM)
        identity.send(owner, signal.SIGCONT)
        if not _has_left(paths, owner, timeout):
            lines.append(f"the supervisor (pid {owner.pid}) did not stop within {timeout:g} s and was killed")
            identity.send(owner, signal.SIGKILL)
            _has_left(paths, owner, _DIES)
    lock = runstate.Lock(paths)
    if not lock.share(timeout=_DIES):
        if owner is not None and runstate.holder(paths) not in {None, owner}:
            return StopReport(was_running=True, clean=True, lines=tuple(lines), again=True)
        return StopReport(was_running=True, clean=False, lines=(*lines, "something still holds the stack's lock"))
    try:
        lines += runstate.reconcile_locked(paths, lock)
    finally:
        lock.release()
    clean = not any("could not kill" in each for each in lines)
    return StopReport(was_running=owner is not None, clean=clean, lines=tuple(lines))


def _has_left(paths: StackPaths, owner: identity.Identity, timeout: float) -> bool:
    """Wait until that supervisor has let go of the stack; another one may have it since."""
    deadline = time.monotonic() + timeout
    while runstate.holder(paths) == owner:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    leaves = time.monotonic() + _LEAVES
    while owner.pid != os.getpid() and identity.alive(owner) and time.monotonic() < leaves:
        time.sleep(0.02)
    return not identity.alive(owner) or runstate.signature(paths) != owner
