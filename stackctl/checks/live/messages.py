"""Anthropic's `/v1/messages`: reads a stream block by block as Claude Code does, and notes where that would stumble.

(`Content block is not a thinking block`, `Content block not found`, arguments that are no JSON, a stream without
`message_stop`: known issues 11 and 38-41.)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stackctl.checks.live import pages
from stackctl.checks.live.reply import Block, End

if TYPE_CHECKING:
    from stackctl.checks.live.events import Event
    from stackctl.checks.live.reply import Reply

PATH = "/v1/messages"
_UNNAMED = "events come without their `event:` line, and clients like Claude Code pass over such"  # Anthropic's SDKs
_PIECES = {
    "text_delta": ("text", "text"),
    "citations_delta": ("text", ""),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", ""),
    "input_json_delta": ("tool_use", "partial_json"),
}


class Stream:
    """Takes the events of one stream and writes what they say into `reply`."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self._open: dict[int, Block] = {}
        self._seen: set[int] = set()
        self._started = False

    def feed(self, event: Event) -> bool:
        """Take one event; True when it carried content."""
        if not event.data or event.data == "[DONE]":
            return False
        try:
            data = json.loads(event.data)
            if str(data.get("object") or "").startswith("chat.completion"):
                self.reply.foreign = True
                return False
            kind = data["type"] if isinstance(data, dict) and "type" in data else event.name
            handler = getattr(self, f"_on_{kind}", None)
            if handler and not event.name and _UNNAMED not in self.reply.problems:
                self.reply.problems.append(_UNNAMED)
            return bool(handler(data)) if handler else False
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.reply.problems.append(f"an event that cannot be read: {event.data[:160]!r}")
            return False

    def _on_message_start(self, data: Any) -> None:
        if self._started:
            self.reply.problems.append("message_start came twice")
        self._started = True
        self.reply.id = str(data["message"].get("id") or "")
        _usage(self.reply, data["message"].get("usage"))

    def _on_content_block_start(self, data: Any) -> bool:
        index, given = data["index"], data["content_block"]
        if index in self._seen:
            self.reply.problems.append(f"content block {index} was started twice")
        if not self._started:
            self.reply.problems.append("a content block came before message_start")
        self._seen.add(index)
        block = self._open[index] = block_of(given)
        self.reply.blocks.append(block)
        return bool(block.text or block.kind == "tool_use")

    def _on_content_block_delta(self, data: Any) -> bool:
        index, delta = data["index"], data["delta"]
        kind, key = _PIECES.get(delta["type"], ("", ""))
        block = self._open.get(index)
        if block is None:
            self.reply.problems.append(f"{delta['type']} for content block {index}, which is not open")
            return False
        if kind and kind != block.kind:
            self.reply.problems.append(f"{delta['type']} in a {block.kind} block")
        if key:
            block.text += str(delta.get(key) or "")
        return True

    def _on_content_block_stop(self, data: Any) -> None:
        if self._open.pop(data["index"], None) is None:
            self.reply.problems.append(f"content block {data['index']} was stopped without a start")

    def _on_message_delta(self, data: Any) -> None:
        self.reply.stop_reason = str(data["delta"].get("stop_reason") or self.reply.stop_reason)
        _usage(self.reply, data.get("usage"))

    def _on_message_stop(self, _: Any) -> None:
        if self._open:
            self.reply.problems.append(f"message_stop while content block {min(self._open)} is open")
        self.reply.end = End.WHOLE

    def _on_error(self, data: Any) -> None:
        self.reply.end = End.ERROR
        self.reply.said = words(data)


def whole(reply: Reply, data: Any) -> None:
    """Read an answer that did not stream. Raises KeyError for what is no message."""
    reply.foreign = str(data.get("object") or "").startswith("chat.completion")
    reply.blocks = [block_of(each) for each in data["content"] or []]
    reply.stop_reason = str(data.get("stop_reason") or "")
    reply.id = str(data.get("id") or "")
    _usage(reply, data.get("usage"))


def block_of(given: Any) -> Block:
    """A content block as it stands in an answer or in `content_block_start`."""
    kind = str(given.get("type"))
    block = Block(kind, name=str(given.get("name") or ""), id=str(given.get("id") or ""))
    if kind == "tool_use":
        block.text = json.dumps(given["input"]) if given.get("input") else ""
    else:
        block.text = str(given.get(kind) or given.get("text") or "")
    return block


def _usage(reply: Reply, given: Any) -> None:
    if isinstance(given, dict):
        reply.usage |= {name: value for name, value in given.items() if isinstance(value, int)}


def words(data: Any) -> str:
    """The server's own words on one line, out of whichever envelopes they come in; at most 400 characters."""
    said: Any = data
    for _ in range(6):
        if isinstance(said, dict):
            inner = next((said[key] for key in ("error", "message", "detail", "msg") if said.get(key)), None)
            if inner is None:
                break
            said = inner
        elif isinstance(said, list) and said:
            said = said[0]
        elif isinstance(said, str) and "{" in said:  # `litellm.X: AnthropicException - {the engine's own}. ...`
            try:
                inside = json.JSONDecoder().raw_decode(said[said.index("{") :])[0]
            except (ValueError, RecursionError):
                break
            if not isinstance(inside, dict) or not {"error", "message", "detail"} & inside.keys():
                break
            said = inside
        else:
            break
    text = said if isinstance(said, str) else json.dumps(said)
    text = pages.title(text) if pages.is_page(text) else text
    return " ".join(text.split())[:400]
