"""A stack that many faults share: healed after each, and given up when it is not well any more."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from tests.fakes.stack import Stack


@dataclass
class Shared:
    """`ends` stops it. What a repair may change is kept: the configuration, and the logs up to now."""

    stack: Stack
    ends: contextlib.ExitStack
    config: bytes = b""
    logs: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = self.stack.config.read_bytes()
        self.logs = {each: os.path.getsize(each) for each in self._logs()}

    def close(self) -> None:
        """Stop it; what a fault has made of it may not let it stop in order, and is no matter any more."""
        with contextlib.suppress(AssertionError):
            self.ends.close()

    def _logs(self) -> list[str]:
        return [str(each) for each in (self.stack.root / "logs").glob("*")]

    def heal(self) -> bool:
        """Take away what the last fault left in the logs; whether everything runs with the configuration that was given."""
        for each in self._logs():
            with contextlib.suppress(OSError):
                if os.path.getsize(each) > self.logs.get(each, 0):
                    os.truncate(each, self.logs.get(each, 0))
        return self.stack.config.read_bytes() == self.config and all(map(_runs, self._processes()))

    def _processes(self) -> list[int]:
        state = json.loads((self.stack.root / "state.json").read_text())
        return [
            state["supervisor"]["pid"],
            *(each["pid"] if each["state"] == "ready" else 0 for each in state["services"]),
        ]


def _runs(pid: int) -> bool:
    try:
        return bool(pid) and psutil.Process(pid).status() not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    except psutil.NoSuchProcess:
        return False
