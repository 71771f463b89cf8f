"""Keys, model names and windows: what a client is let in with, may ask for, and is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.checks.answers import finding
from stackctl.checks.live import listing
from stackctl.checks.live.reply import End
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.model import Finding

WRONG_KEY = "sk-stackctl-doctor-wrong-key"
WRONG_MODEL = "stackctl-doctor-no-such-model"
_GUESSABLE = (
    16  # characters: guides give engines made by hand a shorter one (`none`, `dummy`) that none of them asks for
)
QUICK = 7.0  # seconds within which a refusal comes; a client repeats what hangs


def key(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A wrong key is refused, at once and with 401 or 403."""
    del engine
    given = peer.endpoint.key
    if not given or (peer.where == "engine" and not peer.endpoint.managed and len(given) < _GUESSABLE):
        return
    reply = peer.ask("Say hi.", most=QUICK, max_tokens=1, key=WRONG_KEY)
    words = peer.words()
    if reply.status == 200:
        yield finding(f"{peer.where}.any-key", Status.WARN, (f"with a wrong key: {reply.shown()}",), **words)
    elif not 400 <= reply.status < 500 or not reply.said:  # LiteLLM without a database says 400, in words
        late = reply.end is End.TIMEOUT
        yield finding(
            f"{peer.where}.wrong-key-{'hangs' if late else 'unclear'}",
            Status.WARN,
            (f"with a wrong key: {reply.shown()}",),
            **words,
        )


def listed(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """The model list has the model, with the window that clients are told of."""
    del engine
    cards = listing.cards(peer)
    if not cards:
        return  # a server without a list can still work
    names = [str(each.get("id")) for each in cards]
    endpoint = peer.endpoint
    words = peer.words()
    pattern = "*" in endpoint.name  # LiteLLM lists none of a row that takes many names
    if endpoint.model not in names and not pattern and not any("*" in each for each in names):
        said = f"GET /v1/models: {', '.join(names[:8])}"
        yield finding(
            f"{peer.where}.model-unlisted",
            Status.WARN,
            (said,),
            model=endpoint.model,
            names=listing.named(peer),
            **words,
        )
        return
    window = next((each.get("max_model_len") for each in cards if each.get("id") == endpoint.model), None)
    if peer.where != "engine" or not isinstance(window, int):
        return
    if endpoint.window is not None and window < endpoint.window:
        said = f"GET /v1/models: max_model_len {window}; clients are told {endpoint.window}"
        yield finding("engine.window", Status.FAIL, (said,), window=window, told=endpoint.window, **words)


def unknown_model(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A name that nobody serves is refused, at once and in words."""
    del engine
    reply = peer.ask("Say hi.", most=QUICK, max_tokens=1, model=WRONG_MODEL)
    shown = (f"for the model `{WRONG_MODEL}`: {reply.shown()}",)
    if reply.end is End.TIMEOUT:
        yield finding(f"{peer.where}.unknown-model-hangs", Status.WARN, shown, **peer.words())
    elif reply.status >= 500 or (reply.refused and not reply.said):
        yield finding(f"{peer.where}.unknown-model-unclear", Status.WARN, shown, **peer.words())
