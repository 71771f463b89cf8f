"""Streams under load and over time: silences, cuts, four at once, one that its reader leaves."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl.checks.answers import finding
from stackctl.checks.live import answering, metrics, refusals
from stackctl.checks.live.reply import End
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.checks.live.reply import Reply
    from stackctl.model import Finding

ASKED = "Count from 1 to 200, with spaces between the numbers. Only the numbers."
PATIENCE = 9.0
AT_ONCE = 4
_AGAIN = 2  # times, until two of them meet
_FREED = 5.0  # seconds within which an engine notices that its reader has gone


def to_the_end(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A stream reaches its end however long it is silent between two words, and is not held back on the way."""
    reply = peer.ask(ASKED, most=PATIENCE, max_tokens=peer.length(64))
    peer.stream = reply
    words = {**peer.words(), "gap": f"{max(reply.gap, reply.elapsed - _last(reply)):.1f}", "said": reply.said}
    behind = engine.stream if engine is not None else None
    shown = [reply.shown()] + ([f"from the engine itself: {behind.shown()}"] if behind is not None else [])
    if refusals.cooling(reply):
        yield refusals.cooldown(peer, reply)
    elif reply.problems:
        yield answering.spoilt(peer, engine, reply)
    elif reply.end in {End.CUT, End.ERROR, End.FAULT}:
        slow = refusals.gave_up(reply)
        if peer.where == "gateway" and (slow or (behind is not None and behind.gap > 1.0)):
            yield finding("gateway.timeout", Status.FAIL, shown, **words)
        elif reply.end is End.ERROR:
            yield finding(f"{peer.where}.error", Status.FAIL, shown, **words)
        else:
            yield finding(f"{peer.where}.cut", Status.FAIL, shown, **words)
    elif _at_once(reply) and _at_once(peer.ask(ASKED, most=PATIENCE, max_tokens=peer.length(64))):
        yield finding(f"{peer.where}.buffers", Status.WARN, shown, **words)


def _at_once(reply: Reply) -> bool:
    """A long answer came in one piece. (Twice: a busy machine may read many pieces as one.)"""
    long = reply.usage.get("output_tokens", 0) > 40 and reply.elapsed > 0.3
    return reply.whole and reply.streamed and reply.arrivals <= 2 and long


def _last(reply: Reply) -> float:
    return reply.elapsed if reply.whole else (reply.first_at or 0.0)


def side_by_side(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """Four questions are answered side by side, and not one after the other."""
    del engine
    replies, spans = _burst(peer)
    for _ in range(_AGAIN):
        if not _met(spans) and not peer.over:
            replies, spans = _burst(peer)
    bad = [each for each in replies if not each.whole and each.end is not End.TIMEOUT]
    words = peer.words()
    alone = peer.stream
    if bad and alone is not None and alone.end is End.CUT and all(each.end is End.CUT for each in bad):
        return  # one alone breaks off as well
    if bad:
        if refusals.cooling(bad[0]):
            yield refusals.cooldown(peer, bad[0])
            return
        said = f"{len(bad)} of {AT_ONCE} at once failed: {bad[0].shown()}"
        yield finding(f"{peer.where}.parallel-fails", Status.FAIL, (said,), said=bad[0].said, **words)
    elif len(spans) == AT_ONCE and all(each.whole for each in replies) and _serial(spans):
        zero = min(each.began for each in spans)
        ordered = sorted(spans, key=lambda each: each.first)
        said = "; ".join(f"{each.first - zero:.2f} to {each.last - zero:.2f} s" for each in ordered)
        yield finding(f"{peer.where}.serial", Status.WARN, (f"the four answers came at {said}",), **words)


def _burst(peer: Peer) -> tuple[list[Reply], list[_Span]]:
    """Put four questions at the same moment."""
    replies: list[Reply] = []
    spans: list[_Span] = []
    together = threading.Barrier(AT_ONCE)

    def one(number: int) -> None:
        together.wait(PATIENCE)
        began = time.monotonic()
        reply = peer.ask(f"{ASKED} ({number})", most=PATIENCE, max_tokens=24, patient=False)
        replies.append(reply)
        first = began + (reply.first_at if reply.first_at is not None else reply.elapsed)
        spans.append(_Span(began, first, began + reply.elapsed))

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(AT_ONCE)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE + 1)
    return replies, spans


def _met(spans: list[_Span]) -> bool:
    """Whether any two were under way at once; short answers of a quick server may miss each other."""
    ordered = sorted(spans, key=lambda each: each.began)
    return any(later.began < earlier.last for earlier, later in itertools.pairwise(ordered))


@dataclass(frozen=True, slots=True)
class _Span:
    """One answer: when it was asked for, when its first and its last word came (seconds, monotonic)."""

    began: float
    first: float
    last: float


def _serial(spans: list[_Span]) -> bool:
    """Each answer waited for the one before, though it was asked for earlier, and took long enough to be no accident."""
    ordered = sorted(spans, key=lambda each: each.first)
    waited = all(
        later.began < earlier.last - 0.05 and later.first >= earlier.last - 0.02
        for earlier, later in itertools.pairwise(ordered)
    )
    return waited and min(each.last - each.first for each in spans) > 0.1


def left_alone(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """An engine stops writing when the reader of a stream has gone (Escape in a client)."""
    counted = engine or peer
    idle = _idle(counted)
    if idle is None:
        return
    window = peer.endpoint.window or 8192
    reply = peer.ask(ASKED, most=PATIENCE, max_tokens=min(2048, window // 2), enough=lambda _: True)
    if reply.end is not End.LEFT:
        return
    gone = time.monotonic()
    running = idle
    while time.monotonic() - gone < _FREED:
        now = metrics.read(counted)
        if now is None or now.get(metrics.RUNNING, 0.0) <= idle:
            return
        running = now[metrics.RUNNING]
        time.sleep(0.1)
    said = f"{_FREED:g} s after the reader had gone, {metrics.RUNNING} is {running:.0f} (before: {idle:.0f})"
    yield finding(f"{peer.where}.not-freed", Status.WARN, (said,), **peer.words())


def _idle(peer: Peer) -> float | None:
    """How many requests run when none of ours does; the counter lags a little behind an answer's end."""
    looks = []
    for _ in range(4):
        now = metrics.read(peer)
        if now is None or metrics.RUNNING not in now:
            return None
        looks.append(now[metrics.RUNNING])
        if not looks[-1]:
            break
        time.sleep(0.1)
    return min(looks)
