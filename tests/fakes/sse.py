"""A strict reader of Anthropic's event stream: what Claude Code would stumble over is a StreamError here.

(`Content block is not a thinking block`, `Content block not found`, a stream without `message_stop`: known_issues 39-41.)
"""

import json
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

_FITS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
}
_PIECE = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


class StreamError(AssertionError):
    """The stream breaks the protocol."""


@dataclass
class Message:
    """What a well-formed stream said. A tool call's `input` is read from its pieces."""

    head: Json = field(default_factory=dict)
    content: list[Json] = field(default_factory=list)
    stop_reason: str | None = None
    usage: Json = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All text blocks, joined."""
        return "".join(each["text"] for each in self.content if each["type"] == "text")


def _need(condition: object, why: str) -> None:
    if not condition:
        raise StreamError(why)


def events(raw: bytes) -> list[tuple[str, Json]]:
    """The events of a whole stream as (name, data); comments are left out."""
    found: list[tuple[str, Json]] = []
    _need(raw.endswith(b"\n\n"), f"the stream ends in the middle of an event: {raw[-200:]!r}")
    for frame in raw.decode().replace("\r\n", "\n").strip("\n").split("\n\n"):
        lines = [line for line in frame.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        fields = {name: value.removeprefix(" ") for name, _, value in (line.partition(":") for line in lines)}
        _need(set(fields) <= {"event", "data"} and "data" in fields, f"an event of other lines: {frame!r}")
        found.append((fields.get("event", ""), {} if fields["data"] == "[DONE]" else json.loads(fields["data"])))
    return found


class _Reader:
    """One method for each event; `stage` is start, blocks, delta or end."""

    def __init__(self) -> None:
        self.message = Message()
        self.stage = "start"
        self._open: Json | None = None
        self._arguments: list[str] = []

    def feed(self, name: str, data: Json) -> None:
        """Take one event."""
        kind = data.get("type")
        _need(name == kind, f"event {name!r} carries type {kind!r}")
        _need(kind != "error", f"an error in the stream: {data}")
        _need(self.stage != "end", f"{kind} after message_stop")
        if kind != "ping":
            handler = getattr(self, f"on_{kind}", None)
            _need(handler, f"an unknown event: {data}")
            _need((kind == "message_start") == (self.stage == "start"), f"{kind} at the stage {self.stage!r}")
            assert handler is not None
            handler(data)

    def on_message_start(self, data: Json) -> None:
        head = self.message.head = data["message"]
        wanted = {"type": "message", "role": "assistant", "content": []}
        _need(head.items() >= wanted.items() and head["id"], f"a bad message_start: {data}")
        _need(head["usage"]["input_tokens"] >= 0, f"no usage in message_start: {data}")
        self.stage = "blocks"

    def on_content_block_start(self, data: Json) -> None:
        block, due = data["content_block"], len(self.message.content)
        _need(self.stage == "blocks" and self._open is None, f"a block at the stage {self.stage!r}, open: {self._open}")
        _need(data["index"] == due, f"block {data['index']}, but {due} is next")
        _need(block["type"] in _FITS, f"an unknown block: {block}")
        if block["type"] == "tool_use":
            _need(block["id"] and block["name"] and block["input"] == {}, f"a bad tool_use: {block}")
        self._open, self._arguments = dict(block), []
        self.message.content.append(self._open)

    def _current(self, data: Json) -> Json:
        _need(self._open is not None and data["index"] == len(self.message.content) - 1, f"without its block: {data}")
        assert self._open is not None
        return self._open

    def on_content_block_delta(self, data: Json) -> None:
        block, delta = self._current(data), data["delta"]
        _need(delta["type"] in _FITS[block["type"]], f"{delta['type']} in a {block['type']} block")
        key = _PIECE[delta["type"]]
        if delta["type"] == "input_json_delta":
            self._arguments.append(delta[key])
        else:
            block[key] = block.get(key, "") + delta[key]

    def on_content_block_stop(self, data: Json) -> None:
        block = self._current(data)
        if block["type"] == "tool_use":
            block["input"] = json.loads("".join(self._arguments) or "{}")
            _need(isinstance(block["input"], dict), f"a tool's input is no object: {block}")
        self._open = None

    def on_message_delta(self, data: Json) -> None:
        _need(self._open is None, f"message_delta while a block is open: {self._open}")
        self.message.stop_reason = data["delta"]["stop_reason"]
        self.message.usage = data["usage"]
        self.stage = "delta"

    def on_message_stop(self, _: Json) -> None:
        _need(self.stage == "delta", f"message_stop at the stage {self.stage!r}")
        self.stage = "end"


def read(raw: bytes) -> Message:
    """Check the whole stream of one answer and return what it said; raises StreamError."""
    reader = _Reader()
    for name, data in events(raw):
        reader.feed(name, data)
    _need(reader.stage == "end", f"the stream ended at the stage {reader.stage!r}, without message_stop")
    message = reader.message
    calls = any(each["type"] == "tool_use" for each in message.content)
    _need(calls == (message.stop_reason == "tool_use"), f"stop_reason {message.stop_reason} for {message.content}")
    return message
