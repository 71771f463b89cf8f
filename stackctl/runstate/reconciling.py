"""What a dead supervisor left: found, proven to be this stack's, and taken away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl.runstate.lock import Lock
from stackctl.runstate.owner import lockless
from stackctl.runstate.scratch import remove_tmp, tmp_dirs
from stackctl.runstate.statefile import clear, read

if TYPE_CHECKING:
    from stackctl.paths import StackPaths


def mark_of(paths: StackPaths) -> str:
    """Return how the mark of every process of this stack ends."""
    return f"@{os.path.realpath(paths.root)}"


def reconcile(paths: StackPaths) -> list[str]:
    """Bring the records and what lives into line when no supervisor does; return what was done, in words.

    Survivors that are proven to be this stack's are killed, the temporary directory and the state are removed. A
    stack that runs, or that another machine recorded, is left alone.
    """
    if not os.path.isdir(paths.root) or lockless(paths) is not None:
        return []
    lock = Lock(paths)
    if not lock.share():
        return []
    try:
        return reconcile_locked(paths, lock)
    finally:
        lock.release()


def reconcile_locked(paths: StackPaths, lock: Lock) -> list[str]:
    """Do what `reconcile` does, by the one who holds or shares the lock."""
    from stackctl import survivors

    state = read(paths, locked_by_us=True)
    leftover = [each for each in tmp_dirs(paths) if os.path.lexists(each)]
    if state is None and not leftover and os.path.getsize(paths.lock) == 0:
        return []
    if state is not None and state.elsewhere:
        return [f"the stack `{paths.name}` was started on {state.hostname}; left alone"]
    killed, stuck = survivors.kill(mark=mark_of(paths), log=os.path.realpath(paths.logs) + os.sep)
    did = []
    if killed:
        noun = "process" if killed == 1 else "processes"
        did.append(f"killed {killed} {noun} that a dead supervisor had left")
    if stuck:
        pids = ", ".join(map(str, stuck))
        did.append(f"could not kill {pids}: the kernel holds them (a driver, a network file system)")
    elif state is not None:
        did.append("removed the state of a stack that no longer runs")
    if remove_tmp(paths):
        did.append("removed its temporary files")
    if not stuck:
        clear(paths)
        lock.sign(None)
    return did
