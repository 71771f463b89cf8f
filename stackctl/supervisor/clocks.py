"""Whether the machine slept, or this process was stopped, told by two clocks."""

from __future__ import annotations

import time

_FROZEN = 5.0  # a loop that comes back this many seconds late was itself stopped
_SLEPT = 2.0  # seconds that the boot-time clock may run ahead of the monotonic one before we say the machine slept


def read() -> tuple[float, float]:
    """Return the monotonic clock, which stands still while the machine sleeps, and the one that does not."""
    boot = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
    return time.monotonic(), boot


def gap(before: tuple[float, float], now: tuple[float, float]) -> bool:
    """Say whether the machine slept between two looks at both clocks, or this process itself was stopped."""
    ran, passed = now[0] - before[0], now[1] - before[1]
    return ran > _FROZEN or passed - ran > _SLEPT
