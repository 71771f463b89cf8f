"""Ports for the tests: what is handed out here no other test process of this machine gets while this one lives.

A port that is bound, read and let go again may be another lane's before the server that it was chosen for listens. So each
is locked by its number in a file that all test processes share; the kernel takes the locks away when a process ends. They
lie below what the kernel gives to connections, and to stackctl where it chooses by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from typing import IO

LOCKS = os.path.join(tempfile.gettempdir(), f"stackctl-tests-{os.getuid()}.ports")
RANGE = range(10_000, 32_000)
_given: set[int] = set()
_locks: list[IO[bytes]] = []  # never closed: closing a file gives up all locks of the process on it


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that is nobody else's until this process ends."""
    start = random.choice(RANGE)
    port: int
    for port in (*range(start, RANGE.stop), *range(RANGE.start, start)):
        if port not in _given and _lock(port) and _is_free(port):
            _given.add(port)
            return port
    raise AssertionError(f"no port of {RANGE} is free")


def _lock(port: int) -> bool:
    if not _locks:
        _locks.append(open(LOCKS, "ab"))  # noqa: SIM115
    with contextlib.suppress(OSError):
        fcntl.lockf(_locks[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        return True
    return False


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return True
    return False
