"""uv's lines, made into short ones for people."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STARTED = re.compile(r"^Downloading (?P<name>\S+) \((?P<size>[\d.]+)\s*(?P<unit>[KMG]?i?B)\)")
_ENDED = re.compile(r"^Downloaded (?P<name>\S+)")
_STEP = re.compile(r"^(Resolved|Prepared|Installed|Bytecode compiled|Uninstalled) .+")
_UNITS = {"B": 1e-6, "KiB": 1024e-6, "MiB": 1.048576, "GiB": 1073.741824, "KB": 1e-3, "MB": 1.0, "GB": 1e3}


_LARGE = 20.0  # megabytes; the rest only counts
_QUIET = 5.0  # seconds without a line after which there should be one


class Narrator:
    """Counts the megabytes of downloads: uv says when each starts and ends, with its size, and nothing in between."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell_user = tell
        self._sizes: dict[str, float] = {}
        self._done: set[str] = set()
        self._step = ""
        self._last = time.monotonic()
        self._one = threading.Lock()  # `pulse` speaks from a thread of its own

    def line(self, raw: str) -> None:
        """Take one line of uv's output; tell what a person wants to know of it."""
        text = raw.strip()
        started, ended = _STARTED.match(text), _ENDED.match(text)
        with self._one:
            if started:
                name, size = started["name"], float(started["size"]) * _UNITS.get(started["unit"], 0.0)
                self._sizes[name] = size
                if size >= _LARGE:
                    self._tell(f"Downloading {name} ({size:.0f} MB) {self._so_far()}")
            elif ended:
                self._done.add(ended["name"])
                if self._sizes.get(ended["name"], 0.0) >= _LARGE:
                    self._tell(f"Downloaded {ended['name']} {self._so_far()}")
            elif _STEP.match(text):
                self._step = text.split()[0]
                self._tell(text)

    def beat(self, written: int) -> None:
        """Say what goes on when nothing has been said for a while; `written` is what uv wrote to disk, in bytes."""
        with self._one:
            if time.monotonic() - self._last < _QUIET:
                return
            waiting = [name for name in self._sizes if name not in self._done]
            if waiting:
                names = ", ".join(sorted(waiting, key=lambda name: -self._sizes[name])[:2])
                self._tell(f"Downloading {names} {self._so_far()}, {written / 1e6:.0f} MB unpacked")
            elif self._step == "Installed":
                self._tell("Compiling to bytecode")

    def _tell(self, text: str) -> None:
        self._last = time.monotonic()
        self._tell_user(text)

    def _so_far(self) -> str:
        done = sum(size for name, size in self._sizes.items() if name in self._done)
        return f"[{done:.0f} of {sum(self._sizes.values()):.0f} MB]"


@contextlib.contextmanager
def pulse(narrator: Narrator) -> Iterator[None]:
    """Have the narrator speak at least every few seconds while the block runs a child of ours."""
    over = threading.Event()

    def body() -> None:
        while not over.wait(1.0):
            narrator.beat(_written())

    thread = threading.Thread(target=body, name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _written() -> int:
    """Bytes that our children wrote; 0 where the system does not tell."""
    import psutil

    total = 0
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, AttributeError):
            total += child.io_counters().write_chars
    return total
