"""A LiteLLM that somebody started on this machine: what it was started with, as far as this user may see it."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stackctl import addresses, sockets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CONFIG = frozenset({"--config", "-c"})


@dataclass(frozen=True, slots=True)
class Running:
    """The process that listens: `started` in seconds since the epoch, `environ` as it was then, its command line and directory."""

    pid: int
    started: float
    environ: Mapping[str, str] = field(repr=False)
    words: tuple[str, ...] = field(repr=False)
    place: str


def reading(url: str, file: str) -> Running | None:
    """The process at `url` when its command line names `file`; None for any other, and for one that cannot be looked at."""
    found = _listening(url)
    return found if found is not None and names(found.words, found.place, file) else None


def other_file(url: str, file: str) -> str:
    """The configuration that the LiteLLM at `url` was started with in place of `file`; empty where it is that, or unknown."""
    found = _listening(url)
    if found is None or not any("litellm" in each for each in found.words) or names(found.words, found.place, file):
        return ""
    for word, after in itertools.pairwise([*found.words, ""]):
        option, equals, value = word.partition("=")
        path = os.path.join(found.place, value if equals else after)
        if option in _CONFIG and os.path.isfile(path):
            return "" if os.path.realpath(path) == os.path.realpath(file) else path
    return ""


def _listening(url: str) -> Running | None:
    import psutil

    at = addresses.parts(url)
    if at.hostname not in addresses.LOOPBACK or at.port is None:
        return None
    holder = sockets.holder(at.hostname.replace("localhost", "127.0.0.1"), at.port)
    if holder is None or holder.pid is None:
        return None
    try:
        process = psutil.Process(holder.pid)
        return Running(
            holder.pid, process.create_time(), process.environ(), tuple(process.cmdline()), process.cwd()
        )  # fmt: skip
    except (psutil.Error, OSError):
        return None


def names(words: Sequence[str], place: str, file: str) -> bool:
    """Whether a command line, of a process that was started in `place`, names the file."""
    for word in words[1:]:
        path = os.path.join(place, word.partition("=")[2] if word.startswith("-") else word)
        if os.path.basename(path) == os.path.basename(file) and os.path.realpath(path) == os.path.realpath(file):
            return True
    return False
