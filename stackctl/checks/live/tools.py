"""Tool calls as an agent needs them: streamed, with no argument and with two, an inline system message before them.

A model that once chose not to call is no fault: it is asked again in other words before it is judged.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stackctl.catalog import families, markup, registries
from stackctl.checks.answers import finding
from stackctl.checks.live import answering, refusals
from stackctl.checks.live.reply import End, Reply
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer

PATIENCE = 14.0  # seconds for one call, thinking included
LENGTH = 1024  # tokens: models that think do so before they call
PING: dict[str, Any] = {
    "name": "check_ping",
    "description": "Reports that the connection works. It takes no arguments.",
    "input_schema": {"type": "object", "properties": {}},
}
WEATHER: dict[str, Any] = {
    "name": "check_weather",
    "description": "Returns the weather forecast of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
_ASKED = {
    "check_ping": (
        "Call the tool `check_ping` now. It takes no arguments. Answer with the tool call only.",
        "Is the connection up? Call the tool `check_ping` to find out; you cannot know it otherwise. Do not explain.",
    ),
    "check_weather": (
        'Call the tool `check_weather` now, with the city "Bern" and 3 days. Answer with the tool call only.',
        "What will the weather be in Bern for the next 3 days? Call the tool `check_weather` to find out. Do not explain.",
    ),
}
_REMINDER = "<system-reminder>This is an automatic check of the connection.</system-reminder>"


def conversation(asked: str, *, inline: bool = True) -> list[dict[str, Any]]:
    """Messages as Claude Code sends them: later system messages stand among the others."""
    system = [{"role": "system", "content": _REMINDER}] if inline else []
    return [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello! What shall I do?"},
        *system,
        {"role": "user", "content": asked},
    ]


def calls(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A streamed tool call arrives whole, block by block, with no arguments and with two."""
    if peer.endpoint.embedded:
        why = "tool calls: not expected of this model (the embedded smoke test)"
        yield Finding("behaviour.embedded", Status.SKIPPED, why, hop="behaviour")
        return
    found = list(_judge(peer, PING) or _judge(peer, WEATHER))
    behind = peer.where == "gateway" and engine is not None and engine.calls_tools
    for each in found:
        if behind and each.status is Status.FAIL:  # the engine did this well: what is wrong was made on the way
            yield finding("gateway.tools", Status.FAIL, (each.cause, *each.evidence), **peer.words())
        else:
            yield each


def ask(peer: Peer, text: str, *, inline: bool = True) -> Reply:
    """Offer both tools and ask for one."""
    length = min(LENGTH, max(64, (peer.endpoint.window or 32768) // 4))
    messages = conversation(text, inline=inline)
    return peer.ask(messages, most=PATIENCE, max_tokens=length, tools=[PING, WEATHER])


def _judge(peer: Peer, tool: dict[str, Any]) -> list[Finding]:
    """What is wrong with the calls of one tool; empty when nothing is."""
    replies: list[Reply] = []
    for text in _ASKED[tool["name"]]:
        reply = ask(peer, text)
        if reply.calls or reply.problems or not reply.whole:
            found = _arrived(peer, tool, reply) if reply.whole else [_failed(peer, text, reply)]
            if not found:
                peer.calls_tools = True
                found = _known_id(peer, reply)
            return found
        if (raw := _raw(peer, reply)) is not None:
            return [raw]
        replies.append(reply)
    evidence = tuple(f"asked to call `{tool['name']}`: {each.shown()}" for each in replies)
    if all(each.stop_reason == "max_tokens" for each in replies):
        return [finding("behaviour.too-long", Status.SKIPPED, evidence, **peer.words())]
    if (counted := _tools_ignored(peer)) is not None:
        return [finding("behaviour.template", Status.FAIL, (*evidence, counted), **parser_words(peer))]
    return [finding("behaviour.prose", Status.FAIL, evidence, **parser_words(peer))]


def _arrived(peer: Peer, tool: dict[str, Any], reply: Reply) -> list[Finding]:
    """Look at a call as a client takes it apart."""
    shown = (reply.shown(),)
    words = parser_words(peer)
    if reply.problems:
        return [answering.spoilt(peer, None, reply)]
    call = reply.calls[0]
    if call.name not in {PING["name"], WEATHER["name"]}:
        return [finding("behaviour.tool-name", Status.FAIL, shown, called=call.name, **words)]
    try:
        arguments = json.loads(call.text or "{}")
    except ValueError:
        return [finding("behaviour.arguments", Status.FAIL, shown, what="they are not JSON", **words)]
    if not isinstance(arguments, dict):
        return [finding("behaviour.arguments", Status.FAIL, shown, what="they are not a JSON object", **words)]
    wanted = tool["input_schema"].get("required", []) if call.name == tool["name"] else []
    missing = [each for each in wanted if each not in arguments]
    if missing:
        return [
            finding("behaviour.arguments", Status.FAIL, shown, what=f"{' and '.join(missing)} did not arrive", **words)
        ]
    if reply.stop_reason != "tool_use":
        return [finding("behaviour.stop-reason", Status.FAIL, shown, reason=reply.stop_reason or "none", **words)]
    if not call.id:
        return [finding("behaviour.blocks", Status.FAIL, ("the tool call has no id", *shown), **words)]
    return []


def _known_id(peer: Peer, reply: Reply) -> list[Finding]:
    """The finding for a call under the id of an earlier one."""
    ids = [each.id for each in reply.calls]
    again = next((each for each in ids if each in peer.call_ids or ids.count(each) > 1), "")
    peer.call_ids.update(ids)
    shown = (f"the id of two calls: {again}", reply.shown())
    return [finding("behaviour.same-id", Status.WARN, shown, **peer.words())] if again else []


def _raw(peer: Peer, reply: Reply) -> Finding | None:
    """The finding for a call that stayed in the text, or in the thinking."""
    row = markup.find(reply.text)
    place = "text"
    if row is None:
        row, place = markup.find(reply.thinking), "thinking"
    if row is None or (place == "thinking" and not row.parsers):
        return None
    configured = peer.endpoint.tool_parser
    shown = (f"in the {place}: {(reply.text if place == 'text' else reply.thinking)[-300:]!r}",)
    words = parser_words(peer) | {"markup": row.name, "parser": _best(peer, row)}
    if place == "thinking":
        return finding("behaviour.call-in-thinking", Status.FAIL, shown, **words)
    if not row.parsers:
        return finding("behaviour.json", Status.FAIL, shown, **words)
    if configured and any(registries.same(configured, each) for each in row.parsers):
        return finding("behaviour.parser-missed", Status.FAIL, shown, **words)
    return finding("behaviour.markup", Status.FAIL, shown, **words)


def _best(peer: Peer, row: markup.Markup) -> str:
    """The parser to name: the family's own where it reads this markup."""
    family = families.match(peer.endpoint.served or peer.endpoint.model)
    if family is not None and family.tool in row.parsers:
        return str(family.tool)
    return row.parsers[0] if row.parsers else "none"


def parser_words(peer: Peer) -> dict[str, Any]:
    """What a text about tool calls may name."""
    parser = peer.endpoint.tool_parser
    configured = f"vLLM's parser `{parser}`" if parser else "the engine's parser"
    return {**peer.words(), "configured": configured, "model": peer.endpoint.served or peer.endpoint.model}


def _tools_ignored(peer: Peer) -> str | None:
    """Say so when the prompt is as long with tools as without: then the chat template does not write them into it."""
    counts = []
    for tools in ([PING, WEATHER], []):
        body = {"model": peer.endpoint.model, "messages": conversation("Hello.", inline=False)}
        answer = peer.post("/v1/messages/count_tokens", {**body, "tools": tools} if tools else body)
        data = answer.json() if answer.ok else None
        counts.append(data.get("input_tokens") if isinstance(data, dict) else None)
    if counts[0] is None or counts[0] != counts[1]:
        return None
    return f"POST /v1/messages/count_tokens: {counts[0]} tokens with the tools and without them"


def _failed(peer: Peer, text: str, reply: Reply) -> Finding:
    """The finding for an answer that is none: what of the question made it fail."""
    shown = (reply.shown(),)
    words = {**parser_words(peer), "said": reply.said or f"status {reply.status}"}
    if "tool choice requires --enable-auto-tool-choice" in reply.raw + reply.said:
        at = peer.endpoint
        if at.where == "engine" and at.managed and at.tool_parser is None:  # started again, it would be as it is
            return finding("engine.no-parser", Status.FAIL, shown, **words)
        return finding("engine.tools-off", Status.FAIL, shown, **words)
    if reply.end is End.TIMEOUT:
        if reply.first_at is not None:
            return finding("behaviour.too-long", Status.SKIPPED, shown, **words)
        return finding("behaviour.no-call", Status.FAIL, shown, **words)
    if reply.end is End.CUT:
        return finding("behaviour.cut", Status.FAIL, shown, **words)
    if refusals.cooling(reply):
        return refusals.cooldown(peer, reply)
    without = ask(peer, text, inline=False)
    if without.whole:
        return finding("behaviour.inline-system", Status.FAIL, shown, **words)
    return finding("behaviour.tools-refused", Status.FAIL, shown, **words)
