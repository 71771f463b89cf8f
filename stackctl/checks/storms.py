"""Clients that ask the same again and again in silence: a broken setup that looks slow."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl.catalog import running
from stackctl.checks import answers, asked, logs
from stackctl.checks.check import Check, Hop
from stackctl.model import ServiceKind, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stackctl.checks.asked import Asked
    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

LEAST = 3  # times that the same request was asked, the last ones in vain
LEAST_IN_LOG = 8  # the same for a log that does not tell requests apart, nor clients' from ours
GAP = 300.0  # seconds: Claude Code waits at most 38 between two tries (2.1.330)
RECENT = 1800.0  # seconds that an incident is told of
_GAVE_UP = 3  # requests that a client left after the same time
_PATIENCE = 5.0  # seconds: who leaves sooner was stopped by hand
_ALIKE = 0.05  # part that such times differ by


@dataclass(frozen=True, slots=True)
class Storm:
    """The same request several times in a row."""

    tries: tuple[Asked, ...]

    @property
    def seconds(self) -> float:
        """From the first try to the end of the last."""
        return max(0.0, self.tries[-1].at + self.tries[-1].seconds - self.tries[0].at)

    @property
    def error(self) -> str:
        """The newest error underneath."""
        return next((each.words for each in reversed(self.tries) if each.error), "")

    @property
    def succeeded(self) -> bool:
        """Whether the last try went through."""
        return not self.tries[-1].failed


def storms(requests: Sequence[Asked], least: int = LEAST) -> tuple[Storm, ...]:
    """The storms among `requests`, which are in the order of time; the newest last."""
    open_: dict[tuple[str, str], list[Asked]] = {}
    found: list[list[Asked]] = []
    for each in requests:
        key = each.request, each.agent
        tries = open_.get(key)
        if tries is not None and (each.at - tries[-1].at > GAP + tries[-1].seconds or not tries[-1].failed):
            found.append(open_.pop(key))
            tries = None
        if tries is not None:
            tries.append(each)
        elif each.failed:
            open_[key] = [each]
    found += open_.values()
    kept = [Storm(tuple(each)) for each in found if sum(one.failed for one in each) >= least]
    return tuple(sorted(kept, key=lambda each: each.tries[-1].at))


def retries(facts: Facts) -> Iterator[Finding]:
    """No client repeats a failing request."""
    if found := storms(_recent(facts)):
        yield _told(found, facts, dated=True)
    seen = [storm for kind, text in _unrecorded(facts) for storm in storms(asked.from_log(text, kind), LEAST_IN_LOG)]
    if seen:
        yield _told(seen, facts, dated=False)


def _unrecorded(facts: Facts) -> Iterator[tuple[ServiceKind, str]]:
    """The logs of servers that clients ask without a record of ours: those made by hand, and an engine without a gateway."""
    recorded = facts.paths is not None and os.path.exists(facts.paths.requests)
    direct = facts.prepared is not None and not facts.prepared.plan.gateway.argv
    for name, text in facts.logs.items():
        kind = logs.kind_of(name, text)
        ours = logs.is_service(name)
        wanted = direct or not ours if kind is ServiceKind.ENGINE else not (ours and recorded)
        if kind is not None and wanted:
            yield kind, text


def _told(found: Sequence[Storm], facts: Facts, *, dated: bool) -> Finding:
    """One finding for all storms: the longest speaks, for it is the one that somebody waited for."""
    worst = max(found, key=lambda each: (len(each.tries), each.seconds))
    error = worst.error or f"HTTP {worst.tries[-1].status}"
    meaning = running.meaning("gateway", error)
    client = worst.tries[0].client if dated else "a client"
    outcome = "and then succeeded" if worst.succeeded else "in vain"
    evidence = [facts.clean(f"{_clock(each.at, dated=dated)}{each.path} -> {each.status}{': ' + each.words if each.error else ''}"[:300]) for each in (worst.tries[0], worst.tries[-1])]  # fmt: skip
    if len(found) > 1:
        evidence.append(
            f"{len(found)} requests were repeated like that, {sum(len(each.tries) for each in found)} in all"
        )
    return answers.finding(
        "client.retry-storm",
        Status.WARN,
        evidence,
        blocks=False,
        client=client,
        n=len(worst.tries),
        span=f"{worst.seconds:.0f} s" if worst.seconds >= 0.5 else "an unknown time",
        outcome=outcome,
        error=facts.clean(error)[:300].rstrip(".") + (f" ({meaning.cause})" if meaning else ""),
        remedy=meaning.remedy
        if meaning
        else "run `stackctl doctor`, which asks each part of the chain itself"
        + (", and `stackctl logs engine`" if facts.own else ""),
    )


def _clock(at: float, *, dated: bool) -> str:
    if not dated:
        return ""
    return time.strftime("%H:%M:%S ", time.localtime(at))


def refusals(facts: Facts) -> Iterator[Finding]:
    """No request of a client ended in an error whose meaning is known."""
    told: dict[str, tuple[running.Noticed, list[Asked]]] = {}
    for each in _recent(facts):
        if each.error and not _broken_off(each) and (found := running.meaning("gateway", each.error)):
            told.setdefault(found.id, (found, []))[1].append(each)
    later = _recent(facts)
    for name, (found, those) in told.items():
        if any(each.at > those[-1].at and not each.failed and each.status for each in later) and len(those) < LEAST:
            continue  # one slip, and work went on
        yield _restated(name, found, those, facts)


def _restated(name: str, found: running.Noticed, those: Sequence[Asked], facts: Facts) -> Finding:
    times = "once" if len(those) == 1 else f"{len(those)} times"
    last = those[-1]
    line = facts.clean(f"{_clock(last.at, dated=True)}{last.client}: {last.path} -> {last.status}: {last.words}"[:300])
    return logs.found(name, Hop.CLIENT, Status.WARN, f"{found.cause} (seen {times})", (line,), found.remedy)


def cut(facts: Facts) -> Iterator[Finding]:
    """No stream to a client ended without an end."""
    those = [each for each in _recent(facts) if _broken_off(each)]
    if those:
        last = those[-1]
        said = f": {last.words}" if last.error else ""
        line = facts.clean(f"{_clock(last.at, dated=True)}{last.path} after {last.seconds:.1f} s{said}")
        yield answers.finding("client.stream-cut", Status.WARN, (line,), blocks=False, n=len(those))


def _broken_off(each: Asked) -> bool:
    """Whether an answer that had begun ended without an end, whatever the words for it."""
    return each.end == "cut" and each.status == 200


def left(facts: Facts) -> Iterator[Finding]:
    """No client gives up after a fixed time."""
    times = sorted(each.seconds for each in _recent(facts) if each.end == "left" and each.seconds >= _PATIENCE)
    for at in range(len(times) - _GAVE_UP + 1):
        if times[at + _GAVE_UP - 1] <= times[at] * (1 + _ALIKE):
            yield answers.finding("client.gives-up", Status.WARN, (f"left after {', '.join(f'{each:.1f} s' for each in times[at:at + 5])}",), blocks=False, seconds=f"{times[at]:.0f}")  # fmt: skip
            return


def _recent(facts: Facts) -> list[Asked]:
    if facts.paths is None or not facts.own:
        return []
    try:
        requests = asked.recorded(facts.paths.requests)
    except OSError:
        return []
    now = time.time()
    return [each for each in requests if now - each.at < RECENT]


CHECKS = (
    Check("client.retry-storm", Hop.CLIENT, "No client repeats a failing request in silence.", retries),
    Check("client.refusals", Hop.CLIENT, "No recent request of a client ended in an error that is known.", refusals),
    Check("client.stream-cut", Hop.CLIENT, "No recent stream to a client was cut.", cut),
    Check("client.gives-up", Hop.CLIENT, "No client gives up after a fixed time.", left),
)
