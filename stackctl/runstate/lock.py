"""The stack's lock: flock'd by the supervisor for its whole life, and signed with who that is.

Only a supervisor locks it exclusively. A command that must know that none runs, and have none start meanwhile, shares
it: so who holds it exclusively is a supervisor, which may be asked to stop, and never a command in the middle of its work.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from typing import TYPE_CHECKING

from stackctl import files
from stackctl.errors import StackError
from stackctl.runstate.records import identity_of, process_of, text_of

if TYPE_CHECKING:
    from stackctl.identity import Identity
    from stackctl.paths import StackPaths


class Lock:
    """The stack's lock, held from `take` to `release` or the end of this process, whatever ends it."""

    def __init__(self, paths: StackPaths) -> None:
        self._path = paths.lock
        self._handle = -1

    def take(self, *, timeout: float = 0.0) -> bool:
        """Take the lock for a supervisor, waiting at most `timeout` seconds; False when someone else holds or shares it."""
        return self._locked(fcntl.LOCK_EX, timeout)

    def share(self, *, timeout: float = 0.0) -> bool:
        """Keep supervisors from the lock, waiting at most `timeout` seconds; False when one holds it."""
        return self._locked(fcntl.LOCK_SH, timeout)

    def _locked(self, how: int, timeout: float) -> bool:
        handle = _open_lock(self._path)
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, how | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= deadline:
                    os.close(handle)
                    return False
                time.sleep(0.02)
            else:
                self._handle = handle
                return True

    def sign(self, me: Identity | None) -> None:
        """Write who holds the lock into it, None for nobody: a hint for people, and for a lost state file."""
        words = b"" if me is None else json.dumps({"boot_id": me.boot_id, **(process_of(me) or {})}).encode()
        with contextlib.suppress(OSError):  # a full disk must stop nothing
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, words, 0)

    def in_place(self) -> bool:
        """Say whether the file that we hold is still the one that others would find."""
        try:
            return os.path.samestat(os.fstat(self._handle), os.lstat(self._path))
        except OSError:
            return False

    def renew(self) -> bool:
        """Lock the file that others would find, where somebody removed ours; False when that cannot be (yet)."""
        before, self._handle = self._handle, -1
        try:
            taken = self.take()
        except StackError:
            taken = False
        if taken:
            os.close(before)
        else:
            self._handle = before
        return taken

    def release(self) -> None:
        """Give it back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _open_lock(path: str) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise StackError(f"the lock {path} cannot be opened: {error.strerror}", remedy=f"rm -r {path}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StackError(f"the lock {path} is not a file", remedy=f"rm -r {path}")
    return handle


def is_locked(paths: StackPaths) -> bool:
    """Say whether a supervisor holds the stack's lock."""
    try:
        handle = os.open(paths.lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def signature(paths: StackPaths) -> Identity | None:
    """Return who signed the lock; None when nobody did or it cannot be read."""
    try:
        raw = json.loads(files.read_private(paths.lock))
        return identity_of(raw, text_of(raw["boot_id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
