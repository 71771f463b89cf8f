"""How long: the count of tokens that a client plans with, and answers longer than the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackctl.checks.answers import finding
from stackctl.checks.live import refusals, tools, windows
from stackctl.checks.live.reply import End
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.model import Finding

_SLACK = 0.02  # a gateway may add a word of its own
_GUESS = 0.1  # of the tokens: a guess is further off, what a server adds to a prompt is not
_SYSTEM = "You are a coding agent. " * 8
_QUESTION = 'for (;;) { printf("%d, ", x++); } // Grüße, 世界! ' * 6
HUGE = 999_999  # tokens: more than any window of a model of one's own
USUAL = 32_000  # what Claude Code asks for when it does not know the model (2.1.330)


def count(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """The count of tokens is what the same request takes, and the gateway's is the engine's own."""
    if peer.chat_only:
        return
    mine = _counted(peer)
    words = peer.words()
    if isinstance(mine, str):
        if mine.startswith(("status 404", "status 405")):
            yield finding(f"{peer.where}.no-count", Status.WARN, (f"POST /v1/messages/count_tokens: {mine}",), **words)
        else:
            yield finding(
                f"{peer.where}.count-fails", Status.WARN, (f"POST /v1/messages/count_tokens: {mine}",), **words
            )
        return
    peer.tokens = mine
    theirs = engine.tokens if engine is not None else None
    if peer.where == "gateway" and theirs is not None and abs(mine - theirs) > max(2, _SLACK * theirs):
        said = f"the same question has {mine} tokens by the gateway, {theirs} by the engine"
        yield finding("gateway.count", Status.WARN, (said,), mine=mine, theirs=theirs, **words)
    elif peer.where == "engine":
        taken = _taken(peer)
        if taken and abs(mine - taken) > max(8, _GUESS * taken):
            said = f"count_tokens says {mine} of a question that then took {taken}"
            yield finding("engine.count", Status.WARN, (said,), blocks=False, mine=mine, theirs=taken, **words)


def _taken(peer: Peer) -> int:
    """The tokens that the server says the question of the count had, those from its cache as well; 0 when it says none."""
    usage = peer.ask(_QUESTION, max_tokens=1, **_around(peer)).usage
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(usage.get(name) or 0 for name in names)


def _around(peer: Peer) -> dict[str, Any]:
    """What the question of the count has beside its message."""
    return {"system": _SYSTEM} | ({} if peer.endpoint.embedded else {"tools": [tools.PING, tools.WEATHER]})


def _counted(peer: Peer) -> int | str:
    """Tokens, or what was said instead."""
    said = [{"role": "user", "content": _QUESTION}]
    body = {"model": peer.endpoint.model, "messages": said, **_around(peer)}
    answer = peer.post("/v1/messages/count_tokens", body, 6.0)
    if not answer.ok:
        return answer.error
    data = answer.json()
    found = data.get("input_tokens") if isinstance(data, dict) else None
    return found if isinstance(found, int) and found > 0 else f"no count in {answer.body[:120]!r}"


def limit(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """The longest answer that clients ask for is written or cut to size; an engine behind a gateway may refuse it, in words."""
    del engine
    asked = peer.longest if peer.front else HUGE
    reply = peer.ask("Say hi.", max_tokens=asked, enough=lambda _: True)
    if reply.whole or reply.end is End.LEFT:
        return
    shown = (f"with max_tokens {asked}: {reply.shown()}",)
    words = {**peer.words(), "said": reply.said or f"status {reply.status}"}
    if reply.end is End.TIMEOUT or refusals.cooling(reply):
        return  # slow, or kept out of use: other checks' matter
    if reply.status >= 500 or not reply.said:
        yield finding(f"{peer.where}.length-error", Status.WARN, shown, blocks=False, **words)
    elif peer.front and windows.small(peer) is None:  # else that is the fault
        yield finding(f"{peer.where}.length", Status.WARN, shown, blocks=False, **words)
