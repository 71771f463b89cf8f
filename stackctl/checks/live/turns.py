"""What else a conversation of Claude Code's holds: tool results that go back, thinking, images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from stackctl.catalog import families, markup
from stackctl.checks.answers import finding
from stackctl.checks.live import answering, refusals, tools
from stackctl.checks.live.reply import End
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.checks.live.reply import Reply
    from stackctl.model import Finding

PATIENCE = 12.0
_BUDGET = re.compile(r"thinking_token_budget|thinking\.budget_tokens")
# llama.cpp, which refuses with a 500: `image input is not supported`
_NO_EYES = re.compile(
    r"\b(?:image|vision|multi-?modal)\b.{0,80}\b(?:not supported|unsupported|not support|no support)", re.IGNORECASE
)
# a red square of one pixel
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="


def tool_result(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """The result of a tool goes back in the next turn, and the conversation goes on."""
    reply = peer.ask(_with_result(), most=PATIENCE, tools=[tools.PING, tools.WEATHER], enough=_some)
    if reply.whole or reply.end is End.LEFT:
        return
    if reply.end is End.TIMEOUT:
        if reply.first_at is None and not peer.endpoint.embedded:
            yield _named(peer, engine, "behaviour.tool-result", reply)
        return
    if "tool choice requires --enable-auto-tool-choice" in reply.raw:
        return  # the check of tool calls says so
    if reply.refused and tools.ask(peer, "Hello.", inline=False).said == reply.said:
        return  # so it does, of a server that refuses tools at all
    yield _named(peer, engine, "behaviour.tool-result", reply)


def _with_result() -> list[dict[str, Any]]:
    call = {"type": "tool_use", "id": "toolu_check000000000000001", "name": "check_ping", "input": {}}
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "up"}]}
    return [
        {"role": "user", "content": "Is the connection up? Call `check_ping`, then say what it answered in one word."},
        {"role": "assistant", "content": [{"type": "text", "text": "I check."}, call]},
        {"role": "user", "content": [result]},
    ]


def _some(reply: Reply) -> bool:
    return len(reply.text) + len(reply.thinking) > 8


def thinking(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A client that allows thinking gets an answer, and what is thought stays out of the text."""
    window = peer.endpoint.window or 32768
    asks: list[dict[str, Any]] = [{"type": "adaptive"}]
    if peer.endpoint.reasoning_parser:  # vLLM refuses a budget without one
        asks.append({"type": "enabled", "budget_tokens": 1024})
    for wish in asks:
        if peer.chat_only or (wish["type"] == "enabled" and window <= 4096):
            continue
        length = min(6000, window // 2)
        reply = peer.ask("What is 2 + 2?", most=PATIENCE, max_tokens=length, thinking=wish, enough=_settled)
        if reply.refused:
            name = "behaviour.thinking-budget" if "thinking" in reply.said else "behaviour.thinking-refused"
            yield _named(peer, engine, name, reply)
            return
        if reply.problems:
            yield answering.spoilt(peer, engine, reply)
            return
        row = markup.find(reply.text[:400], "thinking")
        if row is not None:
            yield _leak(peer, engine, row, reply)
            return
        if reply.thinking and not peer.endpoint.hosted:  # a hosted model signs its thoughts
            again = peer.ask(_thought(reply.thinking), most=PATIENCE, max_tokens=length, thinking=wish, enough=_any)
            if again.refused:
                yield _named(peer, engine, "behaviour.thinking-history", again)
                return


def _thought(thoughts: str) -> list[dict[str, Any]]:
    """A second turn that brings the first one's thinking back, as Claude Code does."""
    block = {"type": "thinking", "thinking": thoughts, "signature": "check"}
    return [
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": [block, {"type": "text", "text": "4"}]},
        {"role": "user", "content": "And 3 + 3?"},
    ]


def _settled(reply: Reply) -> bool:
    """Enough was heard to tell: forty characters of text, or ten words of thought."""
    return len(reply.text) > 40 or len(reply.thinking) > 60


def _leak(peer: Peer, engine: Peer | None, row: markup.Markup, reply: Reply) -> Finding:
    shown = (f"in the text: {reply.text[:200]!r}",)
    if peer.where == "gateway" and engine is not None:
        return finding("gateway.thinking", Status.FAIL, shown, **peer.words())
    family = families.match(peer.endpoint.served or peer.endpoint.model)
    parser = family.reasoning if family is not None and family.reasoning else row.parsers[0]
    given = peer.endpoint.reasoning_parser
    words = {
        **peer.words(),
        "markup": row.name,
        "parser": parser,
        "configured": f"`{given}`" if given else "none",
    }
    return finding("behaviour.thinking-in-text", Status.FAIL, shown, **words)


def image(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """An image reaches a model that sees; a text model's refusal comes at once and in words."""
    del engine
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "Which colour is this? One word."}]
    reply = peer.ask([{"role": "user", "content": content}], most=PATIENCE, max_tokens=16, enough=_any)
    words = {**peer.words(), "said": reply.said or f"status {reply.status}"}
    shown = (f"with an image of one pixel: {reply.shown()}",)
    if reply.whole or reply.end is End.LEFT:
        return
    if reply.end in {End.TIMEOUT, End.CUT, End.FAULT}:
        yield finding(f"{peer.where}.image-hangs", Status.WARN, shown, **words)
    elif (reply.status >= 500 and not _NO_EYES.search(reply.said)) or not reply.said:
        yield finding(f"{peer.where}.image-error", Status.WARN, shown, **words)
    elif peer.endpoint.vision:
        yield finding(f"{peer.where}.image-refused", Status.FAIL, shown, **words)


def _any(reply: Reply) -> bool:
    return bool(reply.blocks)


def _named(peer: Peer, engine: Peer | None, name: str, reply: Reply) -> Finding:
    """The behaviour's own finding; of a gateway whose engine did well, the gateway's."""
    if refusals.cooling(reply):
        return refusals.cooldown(peer, reply)
    words = {**peer.words(), "said": reply.said or f"status {reply.status}"}
    shown = (*reply.problems[:3], reply.shown())
    if peer.where == "gateway" and engine is not None and name == "behaviour.tool-result":
        return finding("gateway.turns", Status.FAIL, shown, **words)
    if peer.where == "gateway" and engine is not None:
        made = _BUDGET.search(reply.raw + reply.said) is not None  # nobody asked for one, or the engine took it
        return finding("gateway.thinking-budget" if made else "gateway.thinking", Status.FAIL, shown, **words)
    parser = tools.parser_words(peer)
    return finding(name, Status.FAIL, shown, **{**parser, **words})
