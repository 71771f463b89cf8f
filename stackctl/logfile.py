"""One service's log: kept small while the service writes it, read from the end, followed.

A service holds its log open for appending and is never told to let go of it. Its oldest part is therefore given
back to the disk by punching a hole (fallocate(2)): what is being written meanwhile is not touched, nothing is lost,
and no position in the file changes; only its size as `ls` shows it goes on growing, until the next start. Where the
file system cannot (NFS, macOS), the newest part is copied to the front instead, and what the service writes in that
moment (less than a millisecond) may be lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys

MOST = 64 * 1024 * 1024  # bytes kept of one log
_OF_DISK = 8  # no log takes more than this part of its file system
_KEEP = 0.5  # of the cap that is left after trimming: so that it is not done for each line
_PUNCH = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
_CHUNK = 1 << 20
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


def cap_of(path: str, most: int = MOST) -> int:
    """The most bytes that the log at `path` may take on disk: `most`, and at most an eighth of its file system."""
    try:
        facts = os.statvfs(path)
    except OSError:
        return most
    return max(64 * 1024, min(most, facts.f_blocks * facts.f_frsize // _OF_DISK))


def trim(path: str, most: int = MOST) -> bool:
    """Give the oldest part of a log that is being written back to the disk when it takes more than `most` bytes.

    True when something was given back. Never raises: a log that cannot be trimmed stops nothing.
    """
    try:
        if os.lstat(path).st_blocks * 512 <= most:
            return False
        handle = os.open(path, os.O_RDWR | _FLAGS)
    except OSError:
        return False
    try:
        size = os.fstat(handle).st_size
        return _punch(handle, size - int(most * _KEEP)) or _move_to_front(handle, int(most * _KEEP))
    except OSError:
        return False
    finally:
        os.close(handle)


def compact(path: str, most: int = MOST) -> None:
    """Make the size of a log that nobody writes to what it really holds, at most `most` bytes. Never raises."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDWR | _FLAGS)
        try:
            facts = os.fstat(handle)
            held = facts.st_blocks * 512
            if facts.st_size > held + 4096 or held > most:
                _move_to_front(handle, min(held, int(most * _KEEP)))
        finally:
            os.close(handle)


def _punch(handle: int, upto: int) -> bool:
    """Free the bytes before `upto`; False where the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    upto -= upto % 4096
    if upto <= 0:
        return False
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate64
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return int(fallocate(handle, _PUNCH, 0, upto)) == 0


def _move_to_front(handle: int, keep: int) -> bool:
    """Copy the last `keep` bytes, from the first whole line on, to the front, and cut the rest off."""
    size = os.fstat(handle).st_size
    source = max(0, size - keep)
    first = os.pread(handle, 65536, source)
    source += first.find(b"\n") + 1 if source else 0
    to = 0
    while part := os.pread(handle, _CHUNK, source):  # up to its end as it is now: it may still be growing
        os.pwrite(handle, part, to)
        source, to = source + len(part), to + len(part)
    os.ftruncate(handle, to)
    return True


class Reader:
    """Reads one log from near its end, then what comes; copes with a log that is trimmed, replaced or not there yet."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._at = 0
        self._rest = b""

    def last(self, most_bytes: int, *, unfinished: bool = True) -> list[str]:
        """Whole lines of at most the last `most_bytes` bytes; `more` goes on from there.

        `unfinished` adds a last line that has no end yet. Whoever goes on with `more` leaves it out: a secret that
        is cut in two is found in neither half.
        """
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | _FLAGS)
        except OSError:
            return []
        try:
            facts = os.fstat(handle)
            self._seen = facts.st_dev, facts.st_ino
            start = max(0, facts.st_size - most_bytes)
            with contextlib.suppress(OSError):  # past what was given back to the disk
                start = max(start, os.lseek(handle, start, os.SEEK_DATA))
            raw = _read(handle, start, facts.st_size)
        finally:
            os.close(handle)
        self._at = start + len(raw)
        if start:
            raw = raw.lstrip(b"\0").partition(b"\n")[2]
        lines = self._split(raw)
        if unfinished and self._rest:
            lines.append(self._rest.decode(errors="replace"))
            self._rest = b""
        return lines

    def more(self) -> list[str]:
        """Whole lines that were written since."""
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | _FLAGS)
        except OSError:
            return []
        try:
            facts = os.fstat(handle)
            if (facts.st_dev, facts.st_ino) != self._seen or facts.st_size < self._at:  # a new file, or cut short
                self._seen, self._at, self._rest = (facts.st_dev, facts.st_ino), 0, b""
            skipped = False
            with contextlib.suppress(OSError):  # we were slower than the trimming
                data = os.lseek(handle, self._at, os.SEEK_DATA)
                skipped, self._at = data > self._at, max(self._at, data)
            raw = _read(handle, self._at, min(facts.st_size, self._at + 4 * _CHUNK))
        finally:
            os.close(handle)
        self._at += len(raw)
        return self._split(b"\0" + raw if skipped else raw)

    def _split(self, raw: bytes) -> list[str]:
        """Whole lines; one that lost its beginning or end to a hole (which reads as NUL) is no whole line."""
        whole, *behind = re.split(rb"\0+", self._rest + raw)
        for part in behind:
            whole = whole[: whole.rfind(b"\n") + 1] + part.partition(b"\n")[2]
        *lines, self._rest = whole.split(b"\n")
        return [each.decode(errors="replace") for each in lines]


def _read(handle: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(handle, min(_CHUNK, end - start), start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)
