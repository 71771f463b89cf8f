"""uv's lines, made into short ones for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_STARTED = re.compile(r"^Downloading (?P<name>\S+) \((?P<size>[\d.]+)\s*(?P<unit>[KMG]?i?B)\)")
_ENDED = re.compile(r"^Downloaded (?P<name>\S+)")
_STEP = re.compile(r"^(Resolved|Prepared|Installed|Bytecode compiled|Uninstalled) .+")
_UNITS = {"B": 1e-6, "KiB": 1024e-6, "MiB": 1.048576, "GiB": 1073.741824, "KB": 1e-3, "MB": 1.0, "GB": 1e3}


class Narrator:
    """Counts the megabytes of the larger downloads: uv says when each starts and ends, with its size."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._sizes: dict[str, float] = {}
        self._done: set[str] = set()

    def line(self, raw: str) -> None:
        """Take one line of uv's output; tell what a person wants to know of it."""
        text = raw.strip()
        started, ended = _STARTED.match(text), _ENDED.match(text)
        if started:
            self._sizes[started["name"]] = float(started["size"]) * _UNITS.get(started["unit"], 0.0)
            self._tell(f"Downloading {started['name']} ({self._sizes[started['name']]:.0f} MB) {self._so_far()}")
        elif ended:
            self._done.add(ended["name"])
            self._tell(f"Downloaded {ended['name']} {self._so_far()}")
        elif _STEP.match(text):
            self._tell(text)

    def _so_far(self) -> str:
        done = sum(size for name, size in self._sizes.items() if name in self._done)
        return f"[{done:.0f} of {sum(self._sizes.values()):.0f} MB]"
