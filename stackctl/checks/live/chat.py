"""OpenAI's `/v1/chat/completions`, for engines that have no `/v1/messages`: bodies and answers to and from Anthropic's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stackctl.checks.live.messages import words
from stackctl.checks.live.reply import Block, End

if TYPE_CHECKING:
    from stackctl.checks.live.events import Event
    from stackctl.checks.live.reply import Reply

PATH = "/v1/chat/completions"
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_COUNTS = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}


def body(asked: dict[str, Any]) -> dict[str, Any]:
    """A body for `/v1/messages` as one for chat completions."""
    made: dict[str, Any] = {name: asked[name] for name in ("model", "max_tokens", "temperature") if name in asked}
    if asked.get("stream"):
        made |= {"stream": True, "stream_options": {"include_usage": True}}
    system = _text(asked.get("system") or "")
    made["messages"] = [{"role": "system", "content": system}] if system else []
    for message in asked["messages"]:
        made["messages"] += _message(message)
    if asked.get("tools"):
        made["tools"] = [{"type": "function", "function": _function(each)} for each in asked["tools"]]
    choice = asked.get("tool_choice")
    if choice:
        named = {"type": "function", "function": {"name": choice.get("name")}}
        made["tool_choice"] = {"any": "required", "tool": named}.get(choice["type"], choice["type"])
    return made


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    return {"name": tool["name"], "description": tool.get("description", ""), "parameters": tool["input_schema"]}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(each.get("text", "")) for each in content if each.get("type") == "text")


def _message(message: dict[str, Any]) -> list[dict[str, Any]]:
    content, role = message["content"], message["role"]
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    results = [
        {"role": "tool", "tool_call_id": each["tool_use_id"], "content": _text(each["content"])}
        for each in content
        if each["type"] == "tool_result"
    ]
    calls = [
        {
            "id": each["id"],
            "type": "function",
            "function": {"name": each["name"], "arguments": json.dumps(each["input"])},
        }
        for each in content
        if each["type"] == "tool_use"
    ]
    images = [
        {
            "type": "image_url",
            "image_url": {"url": f"data:{each['source']['media_type']};base64,{each['source']['data']}"},
        }
        for each in content
        if each["type"] == "image"
    ]
    if results:
        return results
    if calls:
        return [{"role": role, "content": _text(content), "tool_calls": calls}]
    return [
        {"role": role, "content": [*images, {"type": "text", "text": _text(content)}] if images else _text(content)}
    ]


class Stream:
    """Takes the chunks of one stream and writes what they say into `reply`."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self._calls: dict[int, Block] = {}

    def feed(self, event: Event) -> bool:
        """Take one chunk; True when it carried content."""
        if event.data == "[DONE]":
            self.reply.end = End.WHOLE
            return False
        if not event.data:
            return False
        try:
            data = json.loads(event.data)
            if data.get("error"):
                self.reply.end, self.reply.said = End.ERROR, words(data)
                return False
            _usage(self.reply, data.get("usage"))
            return any([self._choice(each) for each in data.get("choices") or []])  # noqa: C419 - each one counts
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.reply.problems.append(f"a chunk that cannot be read: {event.data[:160]!r}")
            return False

    def _choice(self, choice: Any) -> bool:
        delta = choice.get("delta") or {}
        found = False
        for kind, key in (("text", "content"), ("thinking", "reasoning"), ("thinking", "reasoning_content")):
            if delta.get(key):
                found = True
                self._last(kind).text += str(delta[key])
        for call in delta.get("tool_calls") or []:
            found = True
            self._call(call)
        if choice.get("finish_reason"):
            self.reply.stop_reason = _STOPS.get(choice["finish_reason"], choice["finish_reason"])
        return found

    def _last(self, kind: str) -> Block:
        if not self.reply.blocks or self.reply.blocks[-1].kind != kind:
            self.reply.blocks.append(Block(kind))
        return self.reply.blocks[-1]

    def _call(self, call: Any) -> None:
        block = self._calls.get(call["index"])
        if block is None:
            block = self._calls[call["index"]] = Block("tool_use", id=str(call.get("id") or ""))
            self.reply.blocks.append(block)
        function = call.get("function") or {}
        block.name += str(function.get("name") or "")
        block.text += str(function.get("arguments") or "")


def whole(reply: Reply, data: Any) -> None:
    """Read an answer that did not stream."""
    choice = (data.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    for kind, key in (("thinking", "reasoning"), ("thinking", "reasoning_content"), ("text", "content")):
        if message.get(key):
            reply.blocks.append(Block(kind, str(message[key])))
    for call in message.get("tool_calls") or []:
        function = call.get("function") or {}
        reply.blocks.append(
            Block("tool_use", str(function.get("arguments") or ""), str(function.get("name")), str(call.get("id")))
        )
    reply.stop_reason = _STOPS.get(choice.get("finish_reason"), str(choice.get("finish_reason") or ""))
    _usage(reply, data.get("usage"))


def _usage(reply: Reply, given: Any) -> None:
    if not isinstance(given, dict):
        return
    reply.usage |= {ours: given[name] for name, ours in _COUNTS.items() if isinstance(given.get(name), int)}
    cached = (given.get("prompt_tokens_details") or {}).get("cached_tokens")
    if isinstance(cached, int):
        reply.usage["cache_read_input_tokens"] = cached
