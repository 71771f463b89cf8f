"""Which living process is a stack's supervisor: by the lock that it holds, never by a recorded pid alone."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from stackctl import identity
from stackctl.model import State
from stackctl.runstate.lock import is_locked, signature
from stackctl.runstate.records import StackState
from stackctl.runstate.statefile import OtherVersionError, read

if TYPE_CHECKING:
    from stackctl.identity import Identity
    from stackctl.model import ClientFacts
    from stackctl.paths import StackPaths

_WRITES = 20.0  # seconds that a supervisor on a slow disk may take from its lock to its state file
_ENDS = 180.0  # seconds in which a stack that is being stopped must be gone: its supervisor gives up before


def holder(paths: StackPaths) -> Identity | None:
    """Return the living process that holds the stack's lock file open, of those that state or lock name; else None.

    Nothing else may be signalled as "the supervisor": a forged or outdated state file names strangers.
    """
    if not is_locked(paths):
        return lockless(paths)
    state = None
    with contextlib.suppress(OtherVersionError):  # it may be stopped all the same: the lock and the kernel name it
        state = read(paths)
    for each in (signature(paths), None if state is None else state.supervisor, _kernel_says(paths)):
        if each is not None and identity.alive(each) and _has_open(each.pid, paths.lock):
            return each
    return None


def lockless(paths: StackPaths) -> Identity | None:
    """Return the recorded supervisor that lives on although somebody removed its lock file; it holds the removed one.

    It makes a new lock within seconds. Linux only: elsewhere None.
    """
    state = None
    with contextlib.suppress(OtherVersionError):
        state = read(paths)
    if state is None or state.supervisor is None or not identity.alive(state.supervisor):
        return None
    removed = f"{os.path.realpath(paths.lock)} (deleted)"
    pid = state.supervisor.pid
    with contextlib.suppress(OSError):
        for handle in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{handle}") == removed:
                    return state.supervisor
    return None


def _kernel_says(paths: StackPaths) -> Identity | None:
    """Ask the kernel who holds the lock (`/proc/locks`, proc(5))."""
    try:
        inode = os.stat(paths.lock).st_ino
        with open("/proc/locks") as locks:
            for line in locks:
                words = line.split()
                if words[1] == "FLOCK" and words[3] == "WRITE" and words[5].rpartition(":")[2] == str(inode):
                    return identity.of(int(words[4]))
    except (OSError, ValueError, IndexError):
        pass
    return None


def _has_open(pid: int, path: str) -> bool:
    if not os.path.isdir("/proc/self"):
        return True  # macOS: the lock's signature and the start time have to do
    with contextlib.suppress(OSError):
        wanted = os.stat(path)
        for handle in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{handle}"), wanted):
                    return True
    return False


def running(stack: StackPaths | StackState) -> StackState | None:
    """Return the state of a stack whose supervisor lives here; None when none does."""
    if isinstance(stack, StackState):
        return stack if stack.supervisor is not None and identity.alive(stack.supervisor) else None
    state = read(stack)
    if state is None:
        return None
    if not is_locked(stack):
        return None if lockless(stack) is None else state
    if state.supervisor is not None and identity.alive(state.supervisor):
        return state
    owner = holder(stack)  # the file is outdated or forged: the lock knows better
    if owner is None:
        return None
    state.supervisor, state.recovered = owner, True
    return state


def recorded(paths: StackPaths, timeout: float = _WRITES) -> StackState | None:
    """Return the state of a stack that runs, as its supervisor wrote it; None when none runs.

    One that has just taken the lock has not written it yet, and one whose file somebody removed writes it again: that is
    waited for, at most `timeout` seconds. Then what could be put together is returned (`recovered`), or None.
    """
    deadline = time.monotonic() + timeout
    while True:
        state = running(paths)
        unwritten = holder(paths) is not None if state is None else state.recovered
        if not unwritten or time.monotonic() >= deadline:
            return state
        time.sleep(0.05)


def settled(paths: StackPaths, timeout: float = _ENDS) -> StackState | None:
    """Return what `recorded` does, once a stack that is being stopped has gone; after `timeout` seconds as it is then."""
    deadline = time.monotonic() + timeout
    while True:
        state = recorded(paths)
        if state is None or state.state is not State.STOPPING or time.monotonic() >= deadline:
            return state
        time.sleep(0.1)


def await_ready(paths: StackPaths, timeout: float) -> ClientFacts | None:
    """Wait until the stack that is being started is ready; None when it went away, or after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        state = recorded(paths)
        if state is None or state.state in {State.FAILED, State.STOPPING, State.STOPPED}:
            return None
        if state.client is not None:
            return state.client
        time.sleep(0.1)
    return None
