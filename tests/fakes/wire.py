"""The four protocols that vLLM speaks, as it writes them (shapes copied from vLLM 0.32.0's answers).

Each `*_stream` yields the server-sent events of one answer as bytes; each `*_whole` returns the JSON of the same answer.
A reply is a list of the script's blocks; `Usage` counts its tokens.
"""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.script import Json, tokens


@dataclass
class Usage:
    """Tokens of one exchange; `cached` (read) and `created` are None without --enable-prompt-tokens-details."""

    prompt: int
    output: int = 0
    cached: int | None = None
    created: int | None = None

    def anthropic(self) -> Json:
        """Anthropic's: input_tokens leaves out what came from the cache and what went into it."""
        cached, created = self.cached or 0, self.created or 0
        usage = {"input_tokens": self.prompt - cached - created, "output_tokens": self.output}
        if self.cached is not None:
            usage |= {"cache_creation_input_tokens": created, "cache_read_input_tokens": cached}
        return usage

    def openai(self) -> Json:
        """OpenAI's chat completions: prompt_tokens is all of it."""
        usage: Json = {
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.output,
            "completion_tokens": self.output,
        }
        if self.cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": self.cached, "created_cache_tokens": self.created}
        return usage

    def responses(self) -> Json:
        """OpenAI's responses."""
        return {
            "input_tokens": self.prompt,
            "input_tokens_details": {"cached_tokens": self.cached or 0},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.prompt + self.output,
        }


def shorten(blocks: list[Json], limit: int) -> tuple[list[Json], int, bool]:
    """`blocks` cut after `limit` tokens: (blocks, tokens, whether something was cut)."""
    kept: list[Json] = []
    count = 0
    for block in blocks:
        kind = next((name for name in ("text", "thinking") if name in block), None)
        if kind is None:
            kept.append(block)
            count += len(tokens(json.dumps(block.get("input")))) if "tool" in block else 0
            continue
        pieces = tokens(block[kind])
        kept.append({**block, kind: "".join(pieces[: limit - count])})
        count += len(pieces)
        if count > limit:
            return kept, limit, True
    return kept, count, False


def _arguments(block: Json) -> str:
    """A tool call's arguments as JSON; `"input": null` stands for a model that wrote none, `raw` for what is not quite JSON."""
    if "raw" in block:
        return str(block["raw"])
    return "" if block.get("input") is None else json.dumps(block["input"])


def _id(prefix: str) -> str:
    return prefix + uuid.uuid4().hex[:16]


def _pieces(text: str) -> list[str]:
    """Arguments arrive in pieces, broken where a token ends and not where JSON would like it."""
    return [text[start : start + 7] for start in range(0, len(text), 7)]


# --- Anthropic: /v1/messages


def _named(event: Json) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _stop_reason(blocks: list[Json], cut: bool) -> str:
    if cut:
        return "max_tokens"
    return "tool_use" if any("tool" in block for block in blocks) else "end_turn"


def anthropic_whole(model: str, blocks: list[Json], usage: Usage, cut: bool) -> Json:
    """One `message`."""
    content: list[Json] = []
    for block in blocks:
        if "text" in block:
            content.append({"type": "text", "text": block["text"]})
        elif "thinking" in block:
            content.append({"type": "thinking", "thinking": block["thinking"], "signature": uuid.uuid4().hex})
        elif "tool" in block:
            call = {"type": "tool_use", "id": _id("chatcmpl-tool-"), "name": block["tool"]}
            content.append({**call, "input": block.get("input") or {}})
    return {
        "id": _id("chatcmpl-"),
        "type": "message",
        "role": "assistant",
        "content": content or [{"type": "text", "text": ""}],
        "model": model,
        "stop_reason": _stop_reason(blocks, cut),
        "usage": usage.anthropic(),
    }


def anthropic_stream(model: str, blocks: list[Json], usage: Usage, cut: bool) -> Iterator[bytes | Json]:
    """`message_start` to `message_stop`; a block that is no content (a silence, a cut) is handed through."""
    started = Usage(usage.prompt).anthropic()
    message = {"id": _id("chatcmpl-"), "type": "message", "role": "assistant", "content": [], "model": model}
    yield _named(
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": started}}
    )
    index = 0
    for block in blocks:
        if "text" in block:
            start: Json = {"type": "text", "text": ""}
            deltas: list[Json] = [{"type": "text_delta", "text": each} for each in tokens(block["text"])]
        elif "thinking" in block:
            start = {"type": "thinking", "thinking": ""}
            deltas = [{"type": "thinking_delta", "thinking": each} for each in tokens(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": uuid.uuid4().hex})
        elif "tool" in block:
            start = {"type": "tool_use", "id": _id("chatcmpl-tool-"), "name": block["tool"], "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": each} for each in _pieces(_arguments(block))]
        else:
            yield block
            continue
        yield _named({"type": "content_block_start", "content_block": start, "index": index})
        for delta in deltas:
            yield _named({"type": "content_block_delta", "delta": delta, "index": index})
        yield _named({"type": "content_block_stop", "index": index})
        index += 1
    delta = {"stop_reason": _stop_reason(blocks, cut), "stop_sequence": None}
    yield _named({"type": "message_delta", "delta": delta, "usage": usage.anthropic()})
    yield _named({"type": "message_stop"})


# --- OpenAI: /v1/chat/completions and /v1/completions


def _finish(blocks: list[Json], cut: bool) -> str:
    if cut:
        return "length"
    return "tool_calls" if any("tool" in block for block in blocks) else "stop"


def chat_whole(model: str, blocks: list[Json], usage: Usage, cut: bool) -> Json:
    """One `chat.completion`."""
    calls = [
        {
            "id": _id("chatcmpl-tool-"),
            "type": "function",
            "function": {"name": each["tool"], "arguments": _arguments(each)},
        }
        for each in blocks
        if "tool" in each
    ]
    message: Json = {
        "role": "assistant",
        "content": "".join(each["text"] for each in blocks if "text" in each) or None,
        "reasoning": "".join(each["thinking"] for each in blocks if "thinking" in each) or None,
    }
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(blocks, cut)}
    return {
        "id": _id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": usage.openai(),
    }


def chat_stream(model: str, blocks: list[Json], usage: Usage, cut: bool) -> Iterator[bytes | Json]:
    """`chat.completion.chunk`s, the last with the usage, then [DONE]."""
    frame = {"id": _id("chatcmpl-"), "object": "chat.completion.chunk", "created": int(time.time()), "model": model}

    def chunk(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return f"data: {json.dumps({**frame, 'choices': [choice]})}\n\n".encode()

    yield chunk({"role": "assistant", "content": ""})
    call = 0
    for block in blocks:
        if "text" in block:
            for each in tokens(block["text"]):
                yield chunk({"content": each})
        elif "thinking" in block:
            for each in tokens(block["thinking"]):
                yield chunk({"reasoning": each})
        elif "tool" in block:
            head = {"id": _id("chatcmpl-tool-"), "type": "function", "index": call}
            yield chunk({"tool_calls": [{**head, "function": {"name": block["tool"], "arguments": ""}}]})
            for each in _pieces(_arguments(block)):
                yield chunk({"tool_calls": [{"index": call, "function": {"arguments": each}}]})
            call += 1
        else:
            yield block
    yield chunk({}, _finish(blocks, cut))
    yield f"data: {json.dumps({**frame, 'choices': [], 'usage': usage.openai()})}\n\n".encode()
    yield b"data: [DONE]\n\n"


def completion_whole(model: str, blocks: list[Json], usage: Usage, cut: bool) -> Json:
    """One `text_completion`."""
    text = "".join(each["text"] for each in blocks if "text" in each)
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "length" if cut else "stop"}
    return {
        "id": _id("cmpl-"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": usage.openai(),
    }


# --- OpenAI: /v1/responses


def responses_whole(model: str, blocks: list[Json], usage: Usage, cut: bool) -> Json:
    """One `response`."""
    output: list[Json] = []
    for block in blocks:
        if "text" in block:
            part = {"annotations": [], "text": block["text"], "type": "output_text", "logprobs": None}
            item: Json = {"id": _id("msg_"), "content": [part], "role": "assistant", "type": "message"}
        elif "thinking" in block:
            part = {"type": "reasoning_text", "text": block["thinking"]}
            item = {"id": _id("rs_"), "summary": [], "content": [part], "type": "reasoning"}
        elif "tool" in block:
            item = {"id": _id("fc_"), "call_id": _id("call_"), "name": block["tool"], "type": "function_call"}
            item["arguments"] = _arguments(block) or "{}"
        else:
            continue
        output.append({**item, "status": "completed"})
    return _response(model) | {
        "output": output,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "usage": usage.responses(),
    }


def _response(model: str) -> Json:
    fixed = {"object": "response", "model": model, "parallel_tool_calls": True, "temperature": 1.0, "top_p": 1.0}
    empty = {"instructions": None, "metadata": None, "incomplete_details": None, "usage": None}
    moving: Json = {"id": _id("resp_"), "created_at": int(time.time()), "output": [], "status": "in_progress"}
    return {**fixed, **empty, **moving, "tool_choice": "auto", "tools": []}


def responses_stream(model: str, blocks: list[Json], usage: Usage, cut: bool) -> Iterator[bytes | Json]:
    """`response.created` to `response.completed`."""
    whole = responses_whole(model, blocks, usage, cut)
    number = 0

    def event(kind: str, **more: Any) -> bytes:
        nonlocal number
        number += 1
        return _named({"type": kind, "sequence_number": number - 1, **more})

    early = {**whole, "output": [], "status": "in_progress", "usage": None, "incomplete_details": None}
    yield event("response.created", response=early)
    yield event("response.in_progress", response=early)
    place = 0
    for block in blocks:
        if not {"text", "thinking", "tool"} & set(block):
            yield block
            continue
        item = whole["output"][place]
        at = {"item_id": item["id"], "output_index": place}
        bare = {**item, "content": [], "status": "in_progress"}
        if "tool" in block:
            bare = {**item, "arguments": "", "status": "in_progress"}
        yield event("response.output_item.added", item=bare, output_index=place)
        if "tool" in block:
            for piece in _pieces(item["arguments"]):
                yield event("response.function_call_arguments.delta", delta=piece, **at)
            yield event("response.function_call_arguments.done", arguments=item["arguments"], name=item["name"], **at)
        else:
            part = item["content"][0]
            kind = "response.output_text" if "text" in block else "response.reasoning_text"
            yield event("response.content_part.added", content_index=0, part={**part, "text": ""}, **at)
            for piece in tokens(part["text"]):
                yield event(f"{kind}.delta", content_index=0, delta=piece, **at)
            yield event(f"{kind}.done", content_index=0, text=part["text"], **at)
            yield event("response.content_part.done", content_index=0, part=part, **at)
        yield event("response.output_item.done", item=item, output_index=place)
        place += 1
    yield event("response.completed", response=whole)
