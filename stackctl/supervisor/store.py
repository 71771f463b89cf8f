"""The lock and the state file of one stack, as its supervisor keeps them: others may remove or change both."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from stackctl import identity, runstate
from stackctl.errors import StackError
from stackctl.supervisor.events import AlreadyRunning

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.paths import StackPaths
    from stackctl.runstate import StackState

_TAKE = 20.0  # seconds that another command may hold the lock
_LOOK = 1.0  # seconds between looks at what is on disk
_LOST = 10.0  # seconds in which a lock file that was removed must have become ours again


class Store:
    """`lock` is held for life; `dirty` says that the state has changed since it was written."""

    def __init__(self, paths: StackPaths, state: StackState, *, on_lost: Callable[[str], None]) -> None:
        """Keep `state`; `on_lost` is told why, in words, when the stack can no longer be found by others."""
        self.lock = runstate.Lock(paths)
        self.dirty = True
        self._paths = paths
        self._state = state
        self._on_lost = on_lost
        self._lost_at: float | None = None  # when the lock file was seen to be gone
        self._looked_at = float("-inf")
        self._written: tuple[int, int, int] | None = None

    def take(self) -> None:
        """Take the stack's lock. Another command may hold it for a moment; a supervisor holds it for good.

        Raises AlreadyRunning when one does, StackError when something else holds it for too long.
        """
        deadline = time.monotonic() + _TAKE
        if runstate.lockless(self._paths) is not None:  # somebody removed the lock of one that runs
            raise AlreadyRunning(self._paths.name, runstate.running(self._paths))
        while not self.lock.take(timeout=0.1):
            if runstate.holder(self._paths) not in {None, identity.mine()}:
                raise AlreadyRunning(self._paths.name, runstate.running(self._paths))
            if time.monotonic() > deadline:
                raise StackError(
                    f"something has held {self._paths.lock} for {_TAKE:g} s",
                    remedy=f"see what: fuser -v {self._paths.lock}",
                )

    def save(self, *, must: bool = False, watch: bool = True) -> None:
        """Write the state file when something changed, or someone has changed or removed it.

        With `watch` a lock that was removed is made again. Raises StackError when the file `must` be written and cannot.
        """
        now = time.monotonic()
        if not self.dirty and now - self._looked_at >= _LOOK:
            self._looked_at = now
            self.dirty = _fingerprint(self._paths.state) != self._written
            if not self.lock.in_place() and watch:
                self._found_again(now)
        if not self.dirty:
            return
        try:
            runstate.write(self._paths, self._state)
        except OSError as error:
            if must:
                raise StackError(
                    f"cannot write {self._paths.state}: {error.strerror}", remedy="free some disk space"
                ) from error
            return  # a full disk stops no engine; tried again at the next look
        self.dirty = False
        self._written = _fingerprint(self._paths.state)

    def _found_again(self, now: float) -> None:
        """Somebody removed our lock, or our whole directory: nobody could find, let alone stop, this stack any more."""
        if not os.path.isdir(self._paths.root):
            self._on_lost(f"{self._paths.root} was removed while the stack ran")
        elif self.lock.renew():
            self.lock.sign(self._state.supervisor)
            self._lost_at = None
        elif self._lost_at is None:  # another command may hold the new one for a moment
            self._lost_at = now
        elif now - self._lost_at > _LOST:
            self._on_lost(f"{self._paths.lock} was removed and is another's now")


def _fingerprint(path: str) -> tuple[int, int, int] | None:
    """What changes when somebody else replaces, edits or removes a file; None when it is not there."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size
