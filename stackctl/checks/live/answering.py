"""Does it answer at all: the first question to an engine or a gateway, and what each refusal of it means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stackctl import addresses
from stackctl.checks.answers import finding
from stackctl.checks.live import between, messages, metrics, nearby, pages, refusals
from stackctl.checks.live.reply import End, Reply
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.model import Finding

PATIENCE = 10.0  # seconds for one token; a CPU engine that others use takes some
_NOBODY = "no connection"  # probe's words
_CLOSED = re.compile("closed without an answer|reset by peer|closed the connection")
_EOF = re.compile(r"unexpected.eof|eof occurred|reset by peer|closed without an answer", re.IGNORECASE)
_UNTRUSTED = re.compile(r"certificate.verify.failed: (?P<why>[^(]{1,200})", re.IGNORECASE)
_PLAIN = re.compile(
    r"wrong.version.number|record.layer.failure|packet.length.too.long", re.IGNORECASE
)  # OpenSSL's words


def health(peer: Peer) -> Iterator[Finding]:
    """The socket answers, and an engine's `/health` is 200."""
    path = "/health" if peer.where == "engine" else "/health/liveliness"
    answer = peer.get(path)
    near = peer.endpoint.managed or addresses.place(peer.endpoint.url)[0] in addresses.LOOPBACK
    # here it is a program that takes nobody more; elsewhere it may be a firewall, or no machine at all
    late = answer.timed_out and (near or not answer.error.startswith(_NOBODY))
    if late:
        other = peer.get("/v1/models")
        if other.status and not other.timed_out:
            return  # a gateway in an engine's place: its /health asks every model that it has
    raw = answer.body.decode(errors="replace")
    page = pages.proxy(answer.status, raw, {}) if answer.status >= 500 else ""
    if page:
        said = pages.title(raw) or f"status {answer.status}"
        if between.now_and_then(peer, path):
            yield between.some(peer, page, said, (f"GET {path}: status {answer.status}: {said}",))
            return
        yield refusals.proxied(peer, page, answer.status, (f"GET {path}: status {answer.status}: {said}",), said)
    elif late:
        yield finding(f"{peer.where}.hangs", Status.FAIL, (f"GET {path}: {answer.error}",), **peer.words())
    elif not answer.status:
        if untrusted(answer.error):
            said = f"GET {path}: {answer.error}"
            yield finding(f"{peer.where}.untrusted", Status.FAIL, (said,), why=untrusted(answer.error), **peer.words())
            return
        name = "not-http" if "not an HTTP" in answer.error else "refused"
        name = (
            "plain"
            if _PLAIN.search(answer.error) or _speaks_http(peer, answer.error)
            else "hung-up"
            if _CLOSED.search(answer.error)
            else name
        )
        at = nearby.instead(peer.endpoint.url) if name == "refused" and not peer.endpoint.managed else ""
        if at:
            shown = (f"GET {path}: {answer.error}", f"GET {at}/v1/models is answered")
            yield finding(f"{peer.where}.listens-elsewhere", Status.FAIL, shown, other=at, **peer.words())
            return
        yield finding(
            f"{peer.where}.{name}", Status.FAIL, (f"GET {path}: {answer.error}",), why=answer.error, **peer.words()
        )
    elif peer.where == "engine" and refusals.unready(answer.status, raw):
        said = messages.words(raw)
        yield finding(
            f"engine.{refusals.unready(answer.status, raw)}",
            Status.FAIL,
            (f"GET {path}: status {answer.status}: {said}",),
            said=said,
            **peer.words(),
        )
    elif peer.where == "engine" and answer.status == 503:
        yield finding("engine.core-dead", Status.FAIL, ("GET /health: status 503",), **peer.words())
    elif peer.where == "engine" and answer.status >= 500:
        said = f"status {answer.status}"
        yield finding(
            "engine.unhealthy", Status.WARN, (f"GET /health: {said}",), said=said, blocks=False, **peer.words()
        )


def _speaks_http(peer: Peer, error: str) -> bool:
    """Whether a server that hangs up on TLS answers without it (some do not say that they do not know TLS)."""
    at = peer.endpoint.url
    return bool(_EOF.search(error)) and at.startswith("https:") and nearby.answers("http:" + at.removeprefix("https:"))


def untrusted(error: str) -> str:
    """Why a certificate is not trusted, in OpenSSL's words; empty for any other error."""
    found = _UNTRUSTED.search(error)
    return found["why"].strip(" .") if found else ""


def token(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """One token comes.

    `engine` is what stands behind a gateway; it has answered already.
    """
    counted = engine or peer
    before = metrics.read(counted)
    missing = None
    reply = peer.ask("Say hi.", most=PATIENCE, max_tokens=1)
    if peer.where == "engine" and refusals.no_such_path(reply):
        peer.chat_only = True
        missing = reply
        reply = peer.ask("Say hi.", most=PATIENCE, max_tokens=1)
    if reply.foreign:
        yield finding(
            f"{peer.where}.other-language", Status.FAIL, (f"POST /v1/messages: {reply.shown()}",), **peer.words()
        )
    elif reply.end is End.TIMEOUT or (reply.end is End.CUT and not reply.blocks):
        yield from _silent(peer, reply, metrics.worked(before, metrics.read(counted)))
    elif not reply.whole:
        yield from refusals.refusal(peer, engine, reply)
    elif missing is not None and peer.front:
        yield finding("engine.no-messages", Status.FAIL, (f"POST /v1/messages: {missing.shown()}",), **peer.words())
    elif reply.problems:
        yield spoilt(peer, engine, reply)
    elif not reply.blocks and not reply.usage.get("output_tokens"):
        yield finding(f"{peer.where}.empty", Status.FAIL, (reply.shown(),), **peer.words())


def spoilt(peer: Peer, engine: Peer | None, reply: Reply) -> Finding:
    """The finding for a stream that breaks the protocol."""
    shown = (*reply.problems[:3], reply.shown())
    if peer.where == "gateway" and engine is not None:
        return finding("gateway.turns", Status.FAIL, shown, said=reply.problems[0], **peer.words())
    return finding("behaviour.blocks", Status.FAIL, shown, **peer.words())


def _silent(peer: Peer, reply: Reply, worked: bool) -> Iterator[Finding]:
    if worked:  # others keep it busy, or it is slow: neither is a fault
        yield finding(
            f"{peer.where}.busy",
            Status.SKIPPED,
            (reply.shown(), "its counters of tokens moved meanwhile"),
            **peer.words(),
        )
    elif peer.where == "engine":
        evidence = (
            "GET /health: status 200",
            f"POST /v1/messages: {reply.shown()}",
            "its counters of tokens stood still",
        )
        yield finding("engine.frozen", Status.FAIL, evidence, **peer.words())
    else:
        yield finding("gateway.silent", Status.FAIL, (f"POST /v1/messages: {reply.shown()}",), **peer.words())
