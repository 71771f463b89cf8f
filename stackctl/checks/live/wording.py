"""What stands in a plain answer: words, an end, the number of tokens used, and that it streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.catalog import markup
from stackctl.checks.answers import finding
from stackctl.checks.live import answering
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.model import Finding

_LONG = 32  # characters of which a model that works writes more than two different ones


def plain(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A plain answer is made of words, stops, streams, and says how many tokens it took."""
    reply = peer.ask("Write one short sentence about the sea.", max_tokens=peer.length(48))
    if not reply.whole:
        return  # the other checks say why
    words, shown = answering.words(peer), (reply.shown(),)
    said = reply.text.strip() or reply.thinking.strip()
    token = markup.end_of_turn(reply.text)
    if len(said) >= _LONG and len(set(said)) <= 2:
        yield finding("behaviour.gibberish", Status.FAIL, shown, **words)
    elif token:
        yield finding("behaviour.end-token", Status.FAIL, shown, token=token, **words)
    elif not reply.streamed:
        yield finding(f"{peer.where}.no-stream", Status.WARN, shown, **words)
    elif not reply.usage.get("input_tokens") and not reply.usage.get("cache_read_input_tokens"):
        used = f"usage: {reply.usage or 'none'}"
        yield finding(f"{peer.where}.no-usage", Status.WARN, (used, *shown), blocks=False, **words)
    del engine
