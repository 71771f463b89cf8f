"""What it means that a plain question is not answered: which of the servers, or of what stands between, says no, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from stackctl.checks.answers import finding
from stackctl.checks.live import between, listing, nearby, pages, seen
from stackctl.checks.live.reply import End, Reply
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.model import Finding

_NO_PATH = 404
_CROWDED = {429, 529}  # Anthropic's own and those that speak like it: overloaded_error
_COOLDOWN = re.compile(r"No deployments available|cooldown_list", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"Cannot connect to host|Connect(?:ion)? (?:call failed|refused|error)|All connection attempts failed"
    r"|Name or service not known|getaddrinfo failed",
    re.IGNORECASE,
)
_TIMEOUT = re.compile(r"time(?:d )?out", re.IGNORECASE)
_HUNG_UP = re.compile("closed without an answer|reset by peer")
_KEYLESS = re.compile(r"No api key passed in", re.IGNORECASE)  # LiteLLM, of a request that came without one
_GUARDRAIL = re.compile(r"guardrail", re.IGNORECASE)
_LOADING = re.compile(
    r"\bloading (?:the )?model|model .{0,100}\bis (?:currently |still )?(?:being )?load(?:ing|ed)\b", re.IGNORECASE
)
_NOT_LOADED = re.compile(r"\bno models? (?:is |are )?(?:currently )?loaded\b", re.IGNORECASE)  # LM Studio, TabbyAPI
_WANTS_TLS = re.compile(r"HTTP request (?:was sent )?to (?:an? )?HTTPS (?:server|port)", re.IGNORECASE)  # Go, nginx
_HOST = re.compile(r"Cannot connect to host (?P<at>[\w.:\[\]-]{1,200})")
_RENAMED = re.compile(r"Invalid model name passed in model=(?P<name>[^\s`'\"]{1,200})")
_NO_TEMPLATE = re.compile(
    r"default chat template is no longer allowed|chat template .{0,40}not (?:found|set)", re.IGNORECASE
)


def refusal(peer: Peer, engine: Peer | None, reply: Reply) -> Iterator[Finding]:
    """What a plain question's failure means."""
    shown, gateway = (reply.shown(),), peer.where == "gateway"
    said: dict[str, Any] = {"said": reply.said or f"status {reply.status}", **peer.words()}
    from_engine = gateway and "Exception" in reply.raw
    page = pages.proxy(reply.status, reply.raw, reply.headers)
    if state := unready(reply.status, reply.raw):
        yield finding(f"{peer.where}.{state}", Status.FAIL, shown, **said)
    elif page:
        yield proxied(peer, page, reply.status, shown, said["said"])
    elif not reply.status or reply.end is End.CUT or _not_http(reply):
        yield _no_answer(peer, reply)
    elif cooling(reply):
        yield cooldown(peer, reply)
    elif gateway and engine is not None and gave_up(reply) and not _UNREACHABLE.search(reply.raw + reply.said):
        yield finding("gateway.timeout", Status.FAIL, shown, gap=f"{reply.elapsed:.1f}", **said)
    elif reply.status == 401 and peer.endpoint.key and _KEYLESS.search(reply.raw):
        yield finding(f"{peer.where}.key-lost", Status.FAIL, shown, **said)
    elif reply.status in {401, 403} and from_engine:
        yield finding("gateway.engine-key", Status.FAIL, shown, **said)
    elif reply.status in {401, 403} or "no_db_connection" in reply.raw or "No connected db" in reply.raw:
        known = "key" if peer.endpoint.key else "no-key"
        yield finding(f"{peer.where}.{known}", Status.FAIL, shown, **said)
    elif gateway and engine is None and _UNREACHABLE.search(reply.raw + reply.said):
        at = _HOST.search(reply.raw)
        yield finding("gateway.engine-away", Status.FAIL, shown, at=f" at {at['at']}" if at else "", **peer.words())
    elif gateway and _UNREACHABLE.search(reply.raw + reply.said):
        yield finding("gateway.wrong-address", Status.FAIL, shown, **said)
    elif seen.NO_MODEL.search(reply.raw) and not peer.endpoint.model:
        yield finding(f"{peer.where}.no-model", Status.FAIL, shown, **peer.words())
    elif renamed(peer, reply):
        yield finding(
            "gateway.renames", Status.FAIL, shown, model=peer.endpoint.model, other=renamed(peer, reply), **said
        )
    elif seen.NO_MODEL.search(reply.raw):
        name = "gateway.wrong-model" if from_engine else f"{peer.where}.model-missing"
        unlike = None if peer.endpoint.managed else between.unlike(peer, reply)
        yield unlike or finding(name, Status.FAIL, shown, model=peer.endpoint.model, names=listing.named(peer), **said)
    elif reply.status in {404, 405}:
        yield _no_path(peer, engine, shown)
    elif reply.status in _CROWDED:
        yield finding(f"{peer.where}.crowded", Status.FAIL, shown, **said)
    elif _NO_TEMPLATE.search(reply.raw):
        yield finding("engine.no-template", Status.FAIL, shown, **said)
    elif gateway and 400 <= reply.status < 500 and _GUARDRAIL.search(reply.raw):
        yield finding("gateway.guardrail", Status.FAIL, shown, **said)
    else:
        name = "error" if reply.status >= 500 or reply.status == 200 else "rejects"
        yield finding(f"{peer.where}.{name}", Status.FAIL, shown, **said)


def unready(status: int, raw: str) -> str:
    """The finding for a server that says that its model is `loading`, that none is (`not-loaded`), or that it `wants-tls`."""
    if status == 503 and _LOADING.search(raw):
        return "loading"
    if _WANTS_TLS.search(raw):
        return "wants-tls"
    return "not-loaded" if status >= 400 and _NOT_LOADED.search(raw) else ""


def _no_path(peer: Peer, engine: Peer | None, shown: tuple[str, ...]) -> Finding:
    """The finding for a server that has no /v1/messages at its address, or asks for one that its engine does not have."""
    if peer.where == "gateway" and engine is not None and engine.chat_only:
        return finding("engine.no-messages", Status.FAIL, shown, **engine.words())
    if peer.chat_only:  # it has neither
        return finding("engine.no-chat", Status.FAIL, shown, model=peer.endpoint.model, **peer.words())
    if peer.where == "engine":
        return finding("engine.no-messages", Status.FAIL, shown, **peer.words())
    if engine is not None:
        return finding("gateway.wrong-path", Status.FAIL, shown, **peer.words())
    above = nearby.above(peer.endpoint.url)
    if above:
        shown = (*shown, f"GET {above}/v1/models is answered")
        return finding("gateway.address-too-long", Status.FAIL, shown, other=above, **peer.words())
    return finding("gateway.no-messages", Status.FAIL, shown, **peer.words())


def _not_http(reply: Reply) -> bool:
    """A redirect, a page where there should be an answer, or a success without one (204)."""
    return 200 < reply.status < 400 or (reply.status == 200 and reply.body is None and not reply.streamed)


def _no_answer(peer: Peer, reply: Reply) -> Finding:
    """The finding for what is no answer of a model server's, not even a refusal."""
    said: dict[str, Any] = {"why": reply.said, **peer.words()}
    location = reply.headers.get("location", "") if 300 <= reply.status < 400 else ""
    name = "not-http" if reply.status != 200 or reply.raw else "empty"
    if not reply.status and _HUNG_UP.search(reply.said):
        name = "cut"  # it had taken the question
    elif not reply.status and reply.end is End.FAULT:
        name = "refused"
    elif reply.status and reply.end is End.CUT:
        name = "cut"
    elif location:
        name = "redirect"
        said |= _leads(urljoin(f"{peer.endpoint.url}/v1/messages", location))
    return finding(f"{peer.where}.{name}", Status.FAIL, (reply.shown(),), **said)


def renamed(peer: Peer, reply: Reply) -> str:
    """The name that LiteLLM looks for in place of the one that it was asked for; empty where it is the same."""
    found = _RENAMED.search(reply.raw) if peer.where == "gateway" else None
    other = found["name"].removesuffix(".") if found else ""
    return "" if other == peer.endpoint.model else other


def proxied(peer: Peer, page: str, status: int, shown: tuple[str, ...], said: str) -> Finding:
    """The finding for a refusal by what stands in front of a server."""
    if pages.leads_out(page):
        return finding(f"{peer.where}.leads-out", Status.FAIL, shown, proxy=page, **peer.words())
    if status == _NO_PATH:
        return finding(f"{peer.where}.proxy-path", Status.FAIL, shown, proxy=page, **peer.words())
    why = pages.MEANING[status]
    return finding(
        f"{peer.where}.proxy", Status.FAIL, shown, proxy=page, why=why, said=said or f"status {status}", **peer.words()
    )


def _leads(location: str) -> dict[str, str]:
    """Where a redirect leads, without what may be a secret; and the address that a client needs to begin there."""
    bare = location.partition("?")[0]
    return {"location": bare, "base": bare.removesuffix("/").removesuffix("/messages").removesuffix("/v1") or "/"}


def gave_up(reply: Reply) -> bool:
    """Whether a gateway says that it waited in vain."""
    return reply.status in {408, 504} or _TIMEOUT.search(reply.raw + reply.said) is not None


def cooling(reply: Reply) -> bool:
    """Whether LiteLLM keeps its deployment out of use, and so hides what was wrong."""
    return reply.status in {429, 500, 503} and _COOLDOWN.search(reply.raw) is not None


def cooldown(peer: Peer, reply: Reply) -> Finding:
    """The finding for it."""
    return finding("gateway.cooldown", Status.FAIL, (reply.shown(),), **peer.words())


def no_such_path(reply: Reply) -> bool:
    """A 404 (or 405) for the path and not for the model."""
    return reply.status in {404, 405} and not seen.NO_MODEL.search(reply.raw) and not unready(reply.status, reply.raw)
