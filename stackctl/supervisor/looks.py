"""How a service's readiness and its work are looked at. The looks may block: the loop has threads make them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from stackctl import identity, probe, sockets, transitions
from stackctl.transitions import Answer

if TYPE_CHECKING:
    from stackctl.model import Probe, ProcessSpec, Work
    from stackctl.supervisor.run import Run
    from stackctl.transitions import RestartPolicy


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
