"""The prefix cache: the second turn of a conversation must not read the first one again."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stackctl.checks.answers import finding
from stackctl.checks.live import metrics, rendering
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.checks.live.reply import Reply
    from stackctl.model import Finding

WORDS = 320  # of the prefix: several blocks of any engine's cache, and read in a second by a slow one
_LEAST = 100  # tokens of turn two below which nothing can be said
_ENOUGH = 0.5  # of the first turn's tokens that the second must find; blocks are whole, ends are not


def second_turn(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """On turn two most of the prompt comes from the engine's cache."""
    counted = engine or peer
    if metrics.read(counted) is None:
        return  # no counters, and no other proof
    with_header = _missed(peer, counted, billing=peer.billing)
    if with_header is None:
        return  # what is found with the header is found without it
    missed = _missed(peer, counted, billing=False)  # once more: others ask as well
    if missed is not None:
        yield finding(f"{peer.where}.prefix-cache", Status.WARN, missed.evidence, **missed.words(peer))
    elif peer.billing and (missed := _missed(peer, counted, billing=True)) is not None:
        yield finding(f"{peer.where}.billing-header", Status.WARN, missed.evidence, **missed.words(peer))


@dataclass(frozen=True, slots=True)
class _Missed:
    """A second turn of `total` tokens, of which the cache had only `hits`."""

    hits: float
    total: float
    evidence: tuple[str, ...]

    def words(self, peer: Peer) -> dict[str, Any]:
        return {**peer.words(), "hits": f"{self.hits:.0f}", "total": f"{self.total:.0f}"}


def _missed(peer: Peer, counted: Peer, *, billing: bool) -> _Missed | None:
    """Ask two turns; None when the second was found in the cache, or nothing can be said."""
    mark = uuid.uuid4().hex
    turns = [_body(mark, index, billing=billing) for index in (1, 2)]
    first = peer.ask(turns[0]["messages"], max_tokens=1, system=turns[0]["system"])
    before = metrics.read(counted)
    second = peer.ask(turns[1]["messages"], max_tokens=1, system=turns[1]["system"])
    after = metrics.read(counted)
    if not (first.whole and second.whole) or before is None or after is None:
        return None  # the check of plain answers says what is wrong
    hits, total = after.get(metrics.HITS, 0.0) - before.get(metrics.HITS, 0.0), _prompt(second, before, after)
    hits = max(hits, second.usage.get("cache_read_input_tokens", 0))
    if total < _LEAST or hits >= _ENOUGH * total:
        return None
    said = f"turn two has {total:.0f} tokens, {hits:.0f} of them came from the cache"
    return _Missed(hits, total, (said, *rendering.differing(counted, turns)))


def _prompt(reply: Reply, before: dict[str, float], after: dict[str, float]) -> float:
    read = after.get(metrics.QUERIES, 0.0) - before.get(metrics.QUERIES, 0.0)
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return read or sum(reply.usage.get(name, 0) for name in names)


def _body(mark: str, turn: int, *, billing: bool) -> dict[str, Any]:
    """One turn as Claude Code sends it; its billing header differs from turn to turn, which vLLM's own path undoes."""
    prefix = f"Check {mark}. " + " ".join(f"rule{number}" for number in range(WORDS))
    system = [{"type": "text", "text": prefix}]
    if billing:
        header = f"x-anthropic-billing-header: cc_version=2.1.330.{mark[turn : turn + 3]}; cc_entrypoint=cli;"
        system.insert(0, {"type": "text", "text": header})
    messages = [{"role": "user", "content": "Say one."}]
    if turn == 2:
        messages += [{"role": "assistant", "content": "one"}, {"role": "user", "content": "Say two."}]
    return {"system": system, "messages": messages}
