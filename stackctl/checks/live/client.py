"""As Claude Code asks: its path, headers, betas and fields together (written down from 2.1.330); and which of them hurts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackctl.checks.answers import finding
from stackctl.checks.live import refusals, tools
from stackctl.checks.live.reply import End
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.checks.live.reply import Reply
    from stackctl.model import Finding

PATIENCE = 12.0
_BETAS = (
    "claude-code-20250219", "interleaved-thinking-2025-05-14", "context-management-2025-06-27",
    "prompt-caching-scope-2026-01-05", "effort-2025-11-24",
)  # fmt: skip
_QUERY = "?beta=true&by=stackctl"
_CACHE = {"type": "ephemeral"}
_FIELDS: dict[str, Any] = {
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "high"},
    "metadata": {"user_id": "user_check_account__session_check"},
}


def request(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A request with all that Claude Code puts into it is answered."""
    del engine
    reply = _ask(peer, _FIELDS)
    if reply.whole or reply.end in {End.LEFT, End.TIMEOUT}:
        return
    if refusals.cooling(reply):
        yield refusals.cooldown(peer, reply)
        return
    plain = _ask(peer, _FIELDS, query="") if reply.refused else reply
    if plain.whole or plain.end is End.LEFT:
        said = (f"POST /v1/messages?beta=true: {reply.shown()}", "POST /v1/messages: answered")
        yield finding(f"{peer.where}.query-refused", Status.FAIL, said, **peer.words())
        return
    shown = (f"POST /v1/messages?beta=true as Claude Code sends it: {reply.shown()}",)
    words = {**peer.words(), "said": reply.said or f"status {reply.status}"}
    culprit = _culprit(peer)
    if culprit is None:
        yield finding("client.request-refused", Status.FAIL, shown, **words)
    else:
        yield finding("client.field-refused", Status.FAIL, shown, field=culprit, **words)


def _culprit(peer: Peer) -> str | None:
    """What it is that is refused: with it alone a question is refused, and without it that question is answered."""
    if _ask(peer, {}, betas=False).refused:
        if not _ask(peer, {}, betas=False, marks=False).refused:
            return "cache_control"
        return None if _ask(peer, {}, betas=False, marks=False, blocks=False).refused else "a system prompt in blocks"
    for name, value in _FIELDS.items():
        if _ask(peer, {name: value}, betas=False).refused:
            return name
    return "anthropic-beta" if _ask(peer, {}).refused else None


def _ask(
    peer: Peer,
    fields: dict[str, Any],
    *,
    betas: bool = True,
    query: str = _QUERY,
    marks: bool = True,
    blocks: bool = True,
) -> Reply:
    """Ask with these fields; with the betas' header, the `marks` of what may be cached, the system prompt in `blocks`."""
    marked = {"cache_control": _CACHE} if marks else {}
    prompt = {"type": "text", "text": "You are a coding agent.", **marked}
    billed = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=cli;"}
    system = [billed, prompt] if blocks else prompt["text"]
    said = [{"type": "text", "text": "Say hi.", **marked}]
    headers = {"x-app": "cli"} | ({"anthropic-beta": ",".join(_BETAS)} if betas else {})
    window = peer.endpoint.window or 32768
    more: dict[str, Any] = {"tools": [tools.PING, tools.WEATHER]}
    return peer.ask(
        [{"role": "user", "content": said}],
        most=PATIENCE,
        max_tokens=min(4096, window // 4),
        system=system,
        headers=headers,
        query=query,
        enough=lambda _: True,
        **more,
        **fields,
    )
