"""Who may ask at the same time."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stackctl.checks.live.reply import Reply


class Quiet:
    """Some questions are judged by the engine's counters or by time, and want nobody else of ours to ask meanwhile."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._talking = 0
        self._turn = threading.Lock()
        self._crowded = False

    def in_turn(self, ask: Callable[[], Reply], crowded: Callable[[Reply], bool]) -> Reply:
        """Ask; where a server has refused several questions at a time, one after the other from then on."""
        reply = None if self._crowded else ask()
        for wait in (0.2, 0.4, 0.8, 1.6):  # for those that are still being answered
            if reply is not None and not crowded(reply):
                return reply
            self._crowded = True
            with self._turn:
                reply = ask()
                time.sleep(wait if crowded(reply) else 0.0)
        return reply or ask()

    @contextmanager
    def talk(self) -> Iterator[None]:
        """Ask beside others."""
        with self._condition:
            self._condition.wait_for(lambda: self._talking >= 0)
            self._talking += 1
        try:
            yield
        finally:
            self._change(-1)

    @contextmanager
    def alone(self, patience: float) -> Iterator[bool]:
        """Ask alone; False when it is not quiet within `patience` seconds."""
        with self._condition:
            quiet = self._condition.wait_for(lambda: self._talking == 0, patience)
            if quiet:
                self._talking = -1
        try:
            yield quiet
        finally:
            if quiet:
                self._change(1)

    def _change(self, by: int) -> None:
        with self._condition:
            self._talking += by
            self._condition.notify_all()
