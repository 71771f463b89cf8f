"""The log that a process writes to, and its end."""

from __future__ import annotations

import os
import stat


def open_log(path: str) -> int:
    """Open a service's log for appending, mode 0600; a symlink or anything but a file of ours is refused."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
        os.close(handle)
        raise OSError(0, "it is not a file of yours")
    os.fchmod(handle, 0o600)
    return handle


def tail(path: str, *, lines: int = 20, since: int = 0) -> tuple[str, ...]:
    """Return the last lines of a log, of what was written behind byte `since`; empty when it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ()
    with os.fdopen(handle, "rb") as log:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return ()
        size = os.fstat(handle).st_size
        log.seek(max(min(since, size), size - 65536))
        text = log.read(65536).decode(errors="replace")
    return tuple(line.rstrip("\r") for line in text.splitlines()[-lines:])
