"""The logs of the services, each below its cap, and how soon to look again at one that is being flooded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import logfile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackctl.supervisor.run import Run

TICK = 0.05  # seconds between looks while, and some time after, a log grew by a sixteenth of its cap between two
_FLOOD_ENDS = 5.0  # seconds


class LogCaps:
    """`most` is how many bytes on disk the log of one service may take; a small disk lowers it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._flooded_until = float("-inf")

    def flooded(self, now: float) -> bool:
        """Whether a log grows so fast that the next look must come within `TICK` seconds."""
        return now < self._flooded_until

    def begin(self, run: Run) -> None:
        """Give the log that a service is about to write the size that it shows."""
        logfile.compact(run.spec.log, self._cap(run))

    def trim(self, runs: Sequence[Run], now: float) -> None:
        """Free the oldest of each log that grew above its cap."""
        for run in runs:
            try:
                size = os.lstat(run.spec.log).st_size
            except OSError:
                continue
            grown, run.logged = size - run.logged, size
            if grown > 0 and run.child is not None:
                cap = self._cap(run)
                if grown * 16 > cap:
                    self._flooded_until = now + _FLOOD_ENDS
                logfile.trim(run.spec.log, cap)

    def _cap(self, run: Run) -> int:
        return logfile.cap_of(run.spec.log, self._most)
