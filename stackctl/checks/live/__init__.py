"""The live probes: bounded requests, first to the engine, then through the gateway, then as a client would ask.

Each probe of the gateway needs the same probe of the engine behind it: the first hop that fails is the culprit, and the
ones behind it are not blamed for it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from stackctl.checks.check import Check, Hop
from stackctl.checks.handmade import rows
from stackctl.checks.live import (
    answering,
    asking,
    between,
    caching,
    client,
    lengths,
    network,
    repeats,
    retries,
    sizes,
    streams,
    tiers,
    tools,
    turns,
    windows,
    wording,
)  # fmt: skip
from stackctl.checks.live.peer import BUDGET, OutOfTime, Peer
from stackctl.checks.live.quiet import Quiet
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stackctl.checks.facts import Facts, Lane

    Probe = Callable[[Peer, Peer | None], Iterable[Finding]]

_SECONDS = 19.0  # each question has a deadline of its own, well before this
# What is asked of an engine and of the gateway in front of it. `alone` ones are judged by counters or time, and come last.
_BOTH: tuple[tuple[str, Probe, bool], ...] = (
    ("answers", answering.token, False),
    ("words", wording.plain, False),
    ("key", asking.key, False),
    ("models", asking.listed, False),
    ("unknown-model", asking.unknown_model, False),
    ("count", lengths.count, False),
    ("limit", lengths.limit, False),
    ("tools", tools.calls, False),
    ("tool-result", turns.tool_result, False),
    ("thinking", turns.thinking, False),
    ("image", turns.image, False),
    ("stream", streams.to_the_end, False),
    ("cache", caching.second_turn, True),
    ("parallel", streams.side_by_side, True),
    ("cancel", streams.left_alone, True),
)
_GATEWAY: tuple[tuple[str, Probe, bool], ...] = (
    ("series", network.in_series, False),
    ("retries", retries.one_call, True),
)


# Of a provider's model: each token is paid for.
_HOSTED = {"answers", "words", "key", "models", "unknown-model", "tools"}
_ALONE = {name for name, _, alone in (*_BOTH, *_GATEWAY) if alone}
# Of a gateway and an engine, and not of one of the names between them; each has the line for itself, so all are short of time.
_OF_A_PAIR = {"cache", "parallel", "cancel"}


def checks(facts: Facts) -> tuple[Check, ...]:
    """The live checks for what was found; none where nothing runs that could be asked."""
    if facts.static:
        return ()
    lines = _Lines(facts)
    found = [check for lane in facts.lanes for check in lines.checks(lane)]
    if facts.own and facts.running:
        found.append(
            Check(
                "network",
                Hop.BEHAVIOUR,
                _first_line(network.off_machine),
                network.off_machine,
                live=True,
            )
        )
    return tuple(sorted(found, key=lambda each: _name(each) in _ALONE))


class _Lines:
    """The ends that were met on the lanes so far.

    An engine that several routes share is asked once, and so is what lies between it and a gateway. What shares an engine
    shares its `Quiet`, by the engine's address.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._ends = facts.began + BUDGET
        # Claude Code on a stack of ours is told to leave it out.
        self._billing = not facts.own and facts.environ.get("CLAUDE_CODE_ATTRIBUTION_HEADER") != "0"
        self._quiet: dict[str, Quiet] = {}
        self._engines: dict[tuple[str, str], Peer] = {}
        self._pairs: set[tuple[str, ...]] = set()

    def checks(self, lane: Lane) -> Iterator[Check]:
        """The checks of one route that no lane before it has brought."""
        facts, first = self._facts, lane is self._facts.lanes[0]
        last = lane.engine or lane.gateway
        if last is None:
            return
        engine = None
        lock = self._quiet.setdefault(last.url, Quiet())
        if lane.engine is not None:
            place = f"engine:{lane.engine.name}"
            key = lane.engine.url, lane.engine.model
            engine = self._engines.get(key)
            if engine is None:
                engine = self._engines[key] = Peer(lane.engine, self._ends, lock=lock, billing=self._billing)
                yield from _peer(engine, None, place, "")
                if not facts.own:  # ours has been weighed before its start
                    yield _asked("window", place, engine, windows.large_enough)
        if lane.gateway is None or (lane.engine is not None and lane.gateway.url == lane.engine.url):
            if engine is not None and not engine.front:  # clients talk to the engine itself
                engine.front, engine.longest = True, _longest(facts, direct=True)
                yield from _front(facts, engine, f"engine:{engine.endpoint.name}", first=first)
            return
        gateway = Peer(lane.gateway, self._ends, lock=lock, billing=self._billing, alone=lane.engine is None)
        behind = f"engine:{engine.endpoint.name}" if engine is not None else ""  # as it was called when it was asked
        gateway.front, gateway.longest = True, _longest(facts, direct=False)
        place = f"gateway:{lane.route}"
        pair = (lane.gateway.url, last.url, lane.gateway.by)
        known = _OF_A_PAIR if pair in self._pairs else set()
        self._pairs.add(pair)
        yield from (each for each in _peer(gateway, engine, place, behind) if _name(each) not in known)
        yield from _front(facts, gateway, place, first=first)


def _name(check: Check) -> str:
    """What is asked, without of whom: `tools` of `tools@engine:main`."""
    return check.id.partition("@")[0]


def _peer(peer: Peer, engine: Peer | None, place: str, behind: str) -> Iterator[Check]:
    """The checks of one end. Each needs that the end answers, and the same check of the engine behind it."""
    hop = Hop.ENGINE if peer.where == "engine" else Hop.GATEWAY
    before = (f"answers@{behind}",) if behind else ()
    yield Check(
        f"health@{place}", hop, _first_line(answering.health), lambda facts: _clean(facts, answering.health(peer)),
        needs=before, live=True, seconds=_SECONDS,
    )  # fmt: skip
    for name, probe, alone in (*_BOTH, *(_GATEWAY if peer.where == "gateway" else ())):
        if peer.endpoint.hosted and name not in _HOSTED:
            continue
        needs: tuple[str, ...] = (f"health@{place}",) if name == "answers" else (f"answers@{place}",)
        if name in _OF_A_PAIR:
            needs += (f"stream@{place}",)  # one that is held back, or cut, says the same of all of them
        if behind:
            needs += (f"{name}@{behind}",)
        yield Check(
            f"{name}@{place}", hop, _first_line(probe), _bound(probe, peer, engine, alone=alone),
            needs=needs, live=True, seconds=_SECONDS,
        )  # fmt: skip


def _front(facts: Facts, peer: Peer, place: str, *, first: bool) -> Iterator[Check]:
    """What concerns only the end that clients talk to; of a gateway with several routes the first asks for all names."""
    yield _asked("client", place, peer, client.request, f"tools@{place}", f"thinking@{place}", hop=Hop.CLIENT)
    if not facts.own:  # who knows what stands before a server made by hand
        yield _asked("size", place, peer, sizes.large)
    if peer.alone and not facts.own:  # or what stands behind it
        yield _asked("window", place, peer, windows.large_enough)
    if not facts.own and first:  # one of them answers as all do
        yield _asked("repeats", place, peer, repeats.stored, "configuration.hand-cache")
    tiers_asked = tiers.asked(facts, peer.endpoint.url)
    if tiers_asked and first:
        yield Check(
            f"tiers@{place}", Hop.GATEWAY, _first_line(tiers.answered), lambda facts: _clean(facts, tiers.answered(peer, tiers_asked)),
            needs=(f"answers@{place}",), live=True, seconds=_SECONDS,
        )  # fmt: skip


def _asked(name: str, place: str, peer: Peer, probe: Probe, *needs: str, hop: Hop | None = None) -> Check:
    """A check of one end alone, which needs that it answers."""
    own = Hop.ENGINE if peer.where == "engine" else Hop.GATEWAY
    return Check(
        f"{name}@{place}", hop or own, _first_line(probe), _bound(probe, peer, None, alone=False),
        needs=(f"answers@{place}", *needs), live=True, seconds=_SECONDS,
    )  # fmt: skip


def _longest(facts: Facts, *, direct: bool) -> int:
    """The most tokens that a client may ask for: our gateway cuts anything to size, else it is what clients are told."""
    told = facts.state.client.output_limit if facts.state is not None and facts.state.client is not None else 0
    if facts.own:
        return told or 1024 if direct else lengths.HUGE
    said = facts.environ.get("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "")
    return int(said) if said.isdecimal() else lengths.USUAL


def _bound(probe: Probe, peer: Peer, engine: Peer | None, *, alone: bool) -> Callable[[Facts], Iterable[Finding]]:
    def run(facts: Facts) -> list[Finding]:
        if not alone:
            with peer.lock.talk():
                return said(facts, peer, [] if peer.over else probe(peer, engine), probe)
        with peer.lock.alone(peer.left(_SECONDS)) as quiet:
            return said(facts, peer, probe(peer, engine) if quiet and not peer.over else [], probe)

    return run


def said(facts: Facts, peer: Peer, found: Iterable[Finding], probe: Probe) -> list[Finding]:
    """Clean, and said once: what two questions run into is one fault."""
    kept = []
    told: list[Finding] = []
    short = False
    try:
        told.extend(between.retold(peer, each) for each in found)
    except OutOfTime:
        short = True
    told += between.unsteady(peer)
    for each in _clean(facts, told):
        if each.bad and not peer.first(each.id):
            kept.append(Finding(each.id, Status.SKIPPED, "the same was found by another question", hop=each.hop))
        else:
            kept.append(_with_own_code(facts, peer, each))
    if (short or peer.over) and not kept:
        unseen = f"there was no time left to see that: {_first_line(probe)}"
        kept.append(Finding("doctor.no-time", Status.SKIPPED, unseen, hop=peer.where))
    return kept


def _with_own_code(facts: Facts, peer: Peer, found: Finding) -> Finding:
    """With the code of somebody's own that runs within each request of a LiteLLM made by hand: it may be what fails."""
    named = rows.own_code(facts.hand_config) if facts.hand_config and peer.where == "gateway" else []
    if found.status is not Status.FAIL or not named:
        return found
    shown = tuple(f"code of your own runs within each request: {path}: {value}" for path, value in named)
    first = (
        f"look at your own code first ({', '.join(value for _, value in named)}); else: {found.by_hand or found.remedy}"
    )
    return dataclasses.replace(found, evidence=(*found.evidence, *shown), by_hand=first)


def _clean(facts: Facts, found: Iterable[Finding]) -> list[Finding]:
    """Without secrets: servers like to repeat the key that they refuse."""
    return [
        dataclasses.replace(
            each, cause=facts.clean(each.cause), evidence=tuple(facts.clean(line) for line in each.evidence)
        )
        for each in found
    ]


def _first_line(what: Callable[..., object]) -> str:
    return (what.__doc__ or "").partition("\n")[0]
