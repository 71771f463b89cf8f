"""Follows the log of a service that starts, and tells how far it has come."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from stackctl.catalog import symptoms
from stackctl.model import ServiceKind

if TYPE_CHECKING:
    from stackctl.catalog.symptoms import Phase

_CHUNK = 256 * 1024  # bytes read at once
_CHUNKS = 16  # read by one poll at most: 4 MiB, so that a flood of log does not hold the caller up
_LINE = 8192  # bytes of an unfinished line that are kept


class Follower:
    """An incremental reader of a growing log.

    `path` need not exist yet; `start` is the offset in bytes at which the run of interest begins. A file that was
    replaced or cut is read again from its beginning. A symlink, or what is not a plain file, is never opened.
    """

    def __init__(self, path: str, kind: ServiceKind = ServiceKind.ENGINE, *, start: int = 0) -> None:
        self._path = path
        self._service = kind
        self._offset = start
        self._file: tuple[int, int] | None = None
        self._partial = b""
        self._last: Phase | None = None

    def poll(self) -> list[Phase]:
        """The phases reached since the last poll, without immediate repetitions; empty when there is nothing new.

        Never waits and never raises for a file that cannot be read: progress is a courtesy, not a check.
        """
        found: list[Phase] = []
        for line in self._lines():
            phase = symptoms.phase(self._service, line)
            if phase is not None and phase != self._last:
                self._last = phase
                found.append(phase)
        return found

    def _lines(self) -> list[str]:
        """The lines completed since the last call; a carriage return completes one too (progress bars)."""
        raw = self._read()
        if not raw:
            return []
        *whole, rest = (self._partial + raw).replace(b"\r", b"\n").split(b"\n")
        self._partial = rest[:_LINE]
        return [line[:_LINE].decode("utf-8", errors="replace") for line in whole]

    def _read(self) -> bytes:
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                return b""
            file = (facts.st_dev, facts.st_ino)
            if (self._file is not None and file != self._file) or facts.st_size < self._offset:
                self._offset, self._partial = 0, b""
            self._file = file
            chunks: list[bytes] = []
            while len(chunks) < _CHUNKS and (chunk := os.pread(handle, _CHUNK, self._offset)):
                chunks.append(chunk)
                self._offset += len(chunk)
            return b"".join(chunks)
        except OSError:
            return b""
        finally:
            os.close(handle)
