"""A program in a terminal of its own, as a person would have it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, words: list[str], env: dict[str, str], cwd: Path) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(cwd)
                os.execve(words[0], words, env)
            finally:
                os._exit(127)
        self.seen = ""
        self.code: int | None = None

    def read(self, *words: str, within: float = 60.0) -> None:
        """Read until every one of `words` was seen."""
        ends = time.monotonic() + within
        while not all(word in self.seen for word in words):
            assert time.monotonic() < ends, f"never saw {words}: {self.seen!r}"
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    raw = os.read(self._master, 65536)
                except OSError:  # the other end is closed
                    raw = b""
                assert raw or all(word in self.seen for word in words), f"ended without {words}: {self.seen!r}"
                self.seen += raw.decode(errors="replace")

    def type(self, raw: bytes) -> None:
        os.write(self._master, raw)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self, within: float = 60.0) -> int:
        """Its exit code, once it has ended and all that it said was read."""
        assert self.ends(within), f"it did not end: {self.seen!r}"
        assert self.code is not None
        return self.code

    def ends(self, within: float) -> bool:
        """Whether it has ended within `within` seconds; all that it said by then was read."""
        ends = time.monotonic() + within
        while self.code is None and time.monotonic() < ends:
            self.drain(0.05)
            self.look()
        self.drain(0)
        return self.code is not None

    def look(self) -> None:
        """See whether it has ended: then `code` is set."""
        pid, status = os.waitpid(self.pid, os.WNOHANG) if self.code is None else (0, 0)
        if pid:
            self.code = os.waitstatus_to_exitcode(status)

    def drain(self, wait: float) -> None:
        """Read what there is, waiting at most `wait` seconds for the first of it."""
        with contextlib.suppress(OSError):
            while select.select([self._master], [], [], wait)[0]:
                self.seen += os.read(self._master, 65536).decode(errors="replace")
                wait = 0

    def hang_up(self) -> None:
        """Close the terminal, as its window's button does: the kernel sends HUP to what runs in it."""
        os.close(self._master)
        os.waitpid(self.pid, 0)
        self.code = 0

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)
