"""The text of a service's log: its end as it stands on disk, and lines without colours. Standard library only."""

from __future__ import annotations

import os
import re
import stat

TAIL = 512 * 1024  # bytes of a log that are looked at: a start writes some 30 KiB, a traceback rarely 50
_LINE = 2048  # characters of a line that are looked at; a cause stands at its beginning
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")


def tail(path: str, *, start: int = 0, size: int = TAIL) -> str:
    """The last `size` bytes of a log from the offset `start` on, as text; empty when there is no such file.

    Raises OSError for what is not a plain file or cannot be read; a symlink is not followed.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    with os.fdopen(handle, "rb") as stream:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(f"{path} is not a plain file")
        begin = max(facts.st_size - size, start if start <= facts.st_size else 0)
        stream.seek(begin)
        return stream.read(size).decode("utf-8", errors="replace")


def clean(text: str) -> str:
    """Without colours, carriage returns and the ends of endless lines."""
    text = _COLOUR.sub("", text[-TAIL:])
    return "\n".join(line[:_LINE] for line in re.split(r"\r\n|\r|\n", text))


def plain(line: str) -> str:
    """One line without colours, and without its end where that is far away."""
    return _COLOUR.sub("", line[:_LINE])


def line_of(text: str, position: int) -> str:
    """The line that a position of a text lies in, at most 500 characters of it."""
    begin = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return text[begin : end if end >= 0 else len(text)].strip()[:500]
