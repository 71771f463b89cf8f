"""A LiteLLM that somebody started on this machine: what it was started with, as far as this user may see it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stackctl import addresses, sockets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Running:
    """The process that listens: `started` in seconds since the epoch, `environ` as it was then."""

    pid: int
    started: float
    environ: Mapping[str, str] = field(repr=False)


def reading(url: str, file: str) -> Running | None:
    """The process at `url` when its command line names `file`; None for any other, and for one that cannot be looked at."""
    import psutil

    at = addresses.parts(url)
    if at.hostname not in _HERE or at.port is None:
        return None
    holder = sockets.holder(at.hostname.replace("localhost", "127.0.0.1"), at.port)
    if holder is None or holder.pid is None:
        return None
    try:
        process = psutil.Process(holder.pid)
        found = Running(holder.pid, process.create_time(), process.environ())
        return found if names(process.cmdline(), process.cwd(), file) else None
    except (psutil.Error, OSError):
        return None


def names(words: Sequence[str], place: str, file: str) -> bool:
    """Whether a command line, of a process that was started in `place`, names the file."""
    for word in words[1:]:
        path = os.path.join(place, word.partition("=")[2] if word.startswith("-") else word)
        if os.path.basename(path) == os.path.basename(file) and os.path.realpath(path) == os.path.realpath(file):
            return True
    return False
