"""The strict reader of event streams refuses what Claude Code would stumble over."""

import json

import pytest

from tests.fakes import sse, wire
from tests.fakes.script import Json


def stream(blocks: list[Json]) -> list[Json]:
    raw = b"".join(
        each for each in wire.anthropic_stream("m", blocks, wire.Usage(5, 3), False) if isinstance(each, bytes)
    )
    return [data for _, data in sse.events(raw)]


def encode(events: list[Json]) -> bytes:
    return b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events)


BLOCKS: list[Json] = [
    {"thinking": "let me see"},
    {"text": "Looking."},
    {"tool": "get", "input": {"city": "Bern", "n": 2}},
]


def test_a_whole_stream_is_read_back() -> None:
    message = sse.read(encode(stream(BLOCKS)))
    assert [each["type"] for each in message.content] == ["thinking", "text", "tool_use"]
    assert message.text == "Looking."
    assert message.content[2]["input"] == {"city": "Bern", "n": 2}
    assert message.stop_reason == "tool_use"


def test_no_event_can_be_missing() -> None:
    events = stream([{"text": "one two"}])
    for index, event in enumerate(events):
        if event["type"] == "content_block_delta":  # a shorter text is a text
            continue
        with pytest.raises(sse.StreamError):
            sse.read(encode(events[:index] + events[index + 1 :]))


def test_a_delta_must_fit_its_block() -> None:
    events = stream([{"text": "hm"}])
    events[2]["delta"] = {"type": "thinking_delta", "thinking": "hm"}
    with pytest.raises(sse.StreamError, match="thinking_delta in a text block"):
        sse.read(encode(events))


def test_a_cut_stream_is_refused() -> None:
    raw = encode(stream(BLOCKS))
    for end in range(0, len(raw), 40):
        with pytest.raises((sse.StreamError, json.JSONDecodeError)):
            sse.read(raw[:end])
