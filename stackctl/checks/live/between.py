"""What stands between us and a server, when it shows in some answers only: said once, and not of each question anew.

A reverse proxy that limits requests or has lost one of its servers answers now and then in their place; servers behind one
address that are not alike know a model in one answer and not in the next.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from stackctl.checks.answers import finding
from stackctl.checks.live.seen import AGAIN
from stackctl.model import Status

if TYPE_CHECKING:
    from stackctl.checks.live.peer import Peer
    from stackctl.checks.live.reply import Reply
    from stackctl.model import Finding

_OF_AN_ENGINE = re.compile(r"^the engine [a-z ]{1,60}, and (?=the gateway)")  # which nobody has asked


def unsteady(peer: Peer) -> list[Finding]:
    """The finding for a server that fails now and then, and answers the same question when it is put again."""
    hiccup = peer.seen.hiccup
    if hiccup is None:
        return []
    shown = (hiccup.shown, "the same question again was answered")
    return [finding(f"{peer.where}.unsteady", Status.WARN, shown, said=hiccup.said, blocks=False, **peer.words())]


def retold(peer: Peer, found: Finding) -> Finding:
    """The finding, or in its place what stands in front of a server that answers other questions well."""
    if peer.alone:
        found = dataclasses.replace(found, cause=_OF_AN_ENGINE.sub("", found.cause))
    if not found.bad:
        return found

    def shows(said: str) -> bool:
        return any(said in each for each in found.evidence)

    seen = peer.seen
    if seen.hiccup is not None and shows(seen.hiccup.said):
        return unsteady(peer)[0]
    if not seen.answered:
        return found
    if seen.no_model and shows(seen.no_model):
        return _unlike(peer, found.evidence)
    page = seen.page
    if page is None or ".proxy" in found.id or ".query-" in found.id or not shows(f"status {page.status}"):
        return found
    return some(peer, page.proxy, f"status {page.status}: {page.title}", found.evidence)


def some(peer: Peer, page: str, said: str, shown: tuple[str, ...]) -> Finding:
    """The finding for a proxy that answers some of the questions itself."""
    return finding(f"{peer.where}.proxy-some", Status.FAIL, shown, proxy=page, said=said, **peer.words())


def unlike(peer: Peer, refused: Reply) -> Finding | None:
    """The finding for servers that differ: the same question, put again, finds one that knows the model."""
    for _ in range(AGAIN):
        reply = peer.ask("Say hi.", max_tokens=1)
        if reply.whole:
            return _unlike(peer, (refused.shown(), f"the same question again: {reply.shown()}"))
    return None


def _unlike(peer: Peer, shown: tuple[str, ...]) -> Finding:
    name = f"{peer.where}.servers-differ"
    return finding(name, Status.FAIL, shown, model=peer.endpoint.model, **peer.words())


def now_and_then(peer: Peer, path: str) -> bool:
    """Whether a path that gave a proxy's page is answered well when it is asked again."""
    return any(peer.get(path).status == 200 for _ in range(AGAIN))
