"""What stands between us and a server, when it shows in some answers only: said once, and not of each question anew.

A reverse proxy that limits requests or has lost one of its servers answers now and then in their place; servers behind one
address that are not alike know a model in one answer and not in the next.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from stackctl.checks.answers import finding
from stackctl.checks.live import pages
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.checks.live.peer import Peer
    from stackctl.checks.live.reply import Reply
    from stackctl.model import Finding

_AGAIN = 2  # times that a question is put once more
_OWN_CHECK = {404, 413}  # a path that is not let through, and a size: they are found by what is asked
_SERVER_FAILS = 500  # and above
_AT_ONCE = 2.0  # seconds
_OF_AN_ENGINE = re.compile(r"^the engine [a-z ]{1,60}, and (?=the gateway)")  # which nobody has asked
_HICCUP, _SHOWN = "hiccup", "hiccup shown"
_ANSWERED, _PAGE, _UNKNOWN = "answered", "page", "unknown"
NO_MODEL = re.compile(r"model .{0,200}(?:does not exist|not found|not supported)|Invalid model name", re.IGNORECASE)


def note(peer: Peer, status: int, raw: str, headers: dict[str, str] | None = None, *, whole: bool = False) -> None:
    """Take down that the server has answered a question by itself (`whole`), or that a proxy has in its place."""
    page = pages.proxy(status, raw, headers or {})
    if whole:
        peer.learnt[_ANSWERED] = True
    elif page and status not in _OWN_CHECK:
        peer.learnt[_PAGE] = (page, status, pages.title(raw) if pages.is_page(raw) else raw[:100])


def note_model(peer: Peer, reply: Reply) -> None:
    """Take down that the server does not know its own model, which it may have answered for before."""
    if reply.refused and NO_MODEL.search(reply.raw) and reply.said:
        peer.learnt[_UNKNOWN] = reply.said


def hiccup(peer: Peer, reply: Reply) -> bool:
    """Whether a server that has answered others fails one question at once, with words of its own."""
    own = reply.status >= _SERVER_FAILS and not pages.proxy(reply.status, reply.raw, reply.headers)
    return own and bool(peer.learnt.get(_ANSWERED)) and reply.elapsed < _AT_ONCE


def steadier(peer: Peer, first: Reply, once: Callable[[], Reply]) -> Reply:
    """The reply to go on with, where the same question is put again. That it failed is taken down when it then does not."""
    for _ in range(_AGAIN):
        again = once()
        if again.whole or 0 < again.status < _SERVER_FAILS:
            peer.learnt[_HICCUP] = first.said or f"status {first.status}"
            peer.learnt.setdefault(_SHOWN, first.shown())
            return again
        if again.elapsed > _AT_ONCE:
            break
    return first


def unsteady(peer: Peer) -> list[Finding]:
    """The finding for a server that fails now and then, and answers the same question when it is put again."""
    said = peer.learnt.get(_HICCUP)
    if not said:
        return []
    shown = (str(peer.learnt[_SHOWN]), "the same question again was answered")
    return [finding(f"{peer.where}.unsteady", Status.WARN, shown, said=said, blocks=False, **peer.words())]


def retold(peer: Peer, found: Finding) -> Finding:
    """The finding, or in its place what stands in front of a server that answers other questions well."""
    if peer.alone:
        found = dataclasses.replace(found, cause=_OF_AN_ENGINE.sub("", found.cause))
    if found.status not in {Status.FAIL, Status.WARN}:
        return found

    def seen(said: object) -> bool:
        return bool(said) and any(str(said) in each for each in found.evidence)

    if seen(peer.learnt.get(_HICCUP)):
        return unsteady(peer)[0]
    if not peer.learnt.get(_ANSWERED):
        return found
    if seen(peer.learnt.get(_UNKNOWN)):
        name = f"{peer.where}.servers-differ"
        return finding(name, Status.FAIL, found.evidence, model=peer.endpoint.model, **peer.words())
    page, status, title = peer.learnt.get(_PAGE) or ("", 0, "")
    if not page or ".proxy" in found.id or ".query-" in found.id or not seen(f"status {status}"):
        return found
    return some(peer, page, f"status {status}: {title}", found.evidence)


def some(peer: Peer, page: str, said: str, shown: tuple[str, ...]) -> Finding:
    """The finding for a proxy that answers some of the questions itself."""
    return finding(f"{peer.where}.proxy-some", Status.FAIL, shown, proxy=page, said=said, **peer.words())


def unlike(peer: Peer, refused: Reply) -> Finding | None:
    """The finding for servers that differ: the same question, put again, finds one that knows the model."""
    for _ in range(_AGAIN):
        reply = peer.ask("Say hi.", max_tokens=1)
        if reply.whole:
            shown = (refused.shown(), f"the same question again: {reply.shown()}")
            return finding(
                f"{peer.where}.servers-differ", Status.FAIL, shown, model=peer.endpoint.model, **peer.words()
            )
    return None


def now_and_then(peer: Peer, path: str) -> bool:
    """Whether a path that gave a proxy's page is answered well when it is asked again."""
    return any(peer.get(path).status == 200 for _ in range(_AGAIN))
