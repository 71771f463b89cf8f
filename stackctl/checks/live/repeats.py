"""Answers out of a store: a cache in the gateway, or in a proxy before it, that gives the same answer again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.checks.answers import finding
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.checks.live.reply import Reply
    from stackctl.model import Finding

_LENGTH = 8  # tokens


def stored(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """Each question gets an answer of its own: the ids of two messages differ."""
    del engine
    first, again, other = (_ask(peer, said) for said in ("Say hi.", "Say hi.", "Name a colour, and why you like it."))
    if not first.id or first.id != again.id or not (first.whole and again.whole):
        return
    shown: tuple[str, ...] = (f"two answers with the id {first.id}", first.shown())
    if other.whole and other.id != first.id:
        yield finding(f"{peer.where}.cached", Status.WARN, shown, **peer.words())
    elif other.whole and (other.text, other.usage) == (first.text, first.usage):  # else its ids mean nothing
        shown = (*shown, f"another question: {other.shown()}")
        yield finding(f"{peer.where}.cached-for-all", Status.FAIL, shown, **peer.words())


def _ask(peer: Peer, said: str) -> Reply:
    return peer.ask(said, max_tokens=peer.length(_LENGTH))
