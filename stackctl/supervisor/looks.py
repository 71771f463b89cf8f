"""A service as it is run, and how its readiness, its work, the clocks and the state file are looked at.

The looks may block: the loop has threads make them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stackctl import identity, probe, process, sockets, transitions, vitals
from stackctl.transitions import Answer, RestartPolicy, Service

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from stackctl.model import Probe, ProcessSpec, Work
    from stackctl.runstate import ServiceRecord

_FROZEN = 5.0  # a loop that comes back this many seconds late was itself stopped
_SLEPT = 2.0  # seconds that the boot-time clock may run ahead of the monotonic one before we say the machine slept


@dataclass(slots=True)
class Run:
    """A service with its record, its process and what was last seen of it."""

    spec: ProcessSpec
    service: Service
    record: ServiceRecord
    child: process.Child | None = None
    mark: str = ""
    start: int = 0  # its number among all starts: a look at the work of an earlier one is not listened to
    counters: tuple[str, ...] | None = None  # of its work, as seen last
    asked_at: float = float("-inf")  # when it was last asked for work, or seen at it
    generation: int = 0  # of probes: an answer of an earlier one is not listened to
    members: list[identity.Identity] = field(default_factory=list)
    before: vitals.Vitals | None = None
    sampled_at: float = float("-inf")
    ooms: deque[tuple[float, int]] = field(default_factory=deque)
    exit_code: int | None = None
    signal: int | None = None
    oom: bool = False
    empty: bool = False
    killed_by_us: bool = False
    logged: int = 0  # size in bytes of its log at the last look


def ask(spec: ProcessSpec, asked: Probe, guard: int, starting: bool) -> transitions.Answered:
    """Probe a service; while it starts, also make sure that it is ours who answers."""
    result = probe.request(asked)
    if result.error == "connection refused":
        return transitions.Answered(Answer.REFUSED, f"nothing listens on port {spec.port}")
    if starting and guard:
        tree = [each.pid for each in identity.descendants(guard, identity.table())]
        if not sockets.belongs_to(spec.host, spec.port, tree):
            who = sockets.holder(spec.host, spec.port)
            if who is not None and who.pid not in tree:
                return transitions.Answered(Answer.STRANGER, f"port {spec.port} is held by {who}, not by {spec.name}")
            return transitions.Answered(Answer.REFUSED, f"nothing of {spec.name} listens on port {spec.port}")
    if result.ok:
        return transitions.Answered(Answer.OK)
    if result.status >= 500:
        return transitions.Answered(Answer.BROKEN, f"it answers {result.error}")
    return transitions.Answered(Answer.SILENT, f"port {spec.port}: {result.error}")


def look_at(run: Run, work: Work, policy: RestartPolicy) -> transitions.Worked:
    """See whether a service works: its counters moved since last time, or else a tiny request is answered.

    A service that nobody is connected to is let sleep: servers close idle connections after seconds.
    """
    before, last = _counters(work), run.counters
    run.counters, now = before, time.monotonic()
    if before is None or before != last:  # it moved; or it does not tell, and readiness has to do
        run.asked_at = now
        return transitions.Worked(hung=False)
    rested = now - run.asked_at < policy.idle_every and run.service.work_failures == 0
    if rested and sockets.connected(run.spec.port) is False:
        return transitions.Worked(hung=False)
    run.asked_at = now
    result = probe.request(replace(work.request, timeout=policy.work_timeout))
    run.counters = after = _counters(work)
    if not result.timed_out or after != before:
        return transitions.Worked(hung=False)
    return transitions.Worked(hung=True, why="it takes requests but answers none and makes no progress")


def _counters(work: Work) -> tuple[str, ...] | None:
    """The lines of the metrics that show progress; None when they cannot be read."""
    result = probe.request(replace(work.counters, timeout=min(work.counters.timeout, 3.0)))
    if not result.ok:
        return None
    return (
        tuple(each for each in result.body.decode(errors="replace").splitlines() if each.startswith(work.progress))
        or None
    )


def how_it_ended(run: Run) -> str:
    """Say how a leader ended."""
    if run.oom:
        return "the kernel killed a process of it for lack of memory"
    if run.signal is not None:
        return f"it was killed by signal {run.signal} ({signal.strsignal(run.signal)})"
    return f"it ended with exit code {run.exit_code}"


def reap_orphans(rows: Mapping[int, identity.ProcessRow], guards: Collection[int]) -> None:
    """Collect processes that ended and were handed to us: a container's first process is given every orphan.

    `rows` are all processes of the machine by pid; `guards` are children whose end is asked for elsewhere.
    """
    for each in rows.values():
        if each.ended and each.parent == 1 and each.pid not in guards:
            with contextlib.suppress(OSError):
                os.waitpid(each.pid, os.WNOHANG)


def clocks() -> tuple[float, float]:
    """Return the monotonic clock, which stands still while the machine sleeps, and the one that does not."""
    boot = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
    return time.monotonic(), boot


def gap(before: tuple[float, float], now: tuple[float, float]) -> bool:
    """Say whether the machine slept between two looks at both clocks, or this process itself was stopped."""
    ran, passed = now[0] - before[0], now[1] - before[1]
    return ran > _FROZEN or passed - ran > _SLEPT


def fingerprint(path: str) -> tuple[int, int, int] | None:
    """What changes when somebody else replaces, edits or removes a file; None when it is not there."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size
