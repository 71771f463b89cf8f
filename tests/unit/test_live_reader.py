"""The doctor's reader of streams: what Claude Code would stumble over is noted, and how each exchange ended."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from stackctl.catalog import markup, registries
from stackctl.checks import answers, live
from stackctl.checks.endpoints import Endpoint, Lane
from stackctl.checks.facts import Facts
from stackctl.checks.live import chat, messages, network, peer
from stackctl.checks.live.events import Event
from stackctl.checks.live.reply import End, Reply
from stackctl.config import Flags
from tests.fakes import wire

BLOCKS: list[dict[str, Any]] = [
    {"thinking": "hm"},
    {"text": "I look."},
    {"tool": "look", "input": {"city": "Zürich", "days": 3}},
    {"tool": "ping", "input": None},
]


def frames(raw: bytes) -> Event:
    lines = [line.partition(": ")[::2] for line in raw.decode().strip().split("\n")]
    found = dict(lines)
    return Event(found.get("event", ""), found["data"], 0.0)


def read(speaks: Any, stream: Any) -> Reply:
    reply = Reply(status=200, end=End.CUT)
    reader = speaks.Stream(reply)
    for each in stream:
        reader.feed(frames(each) if isinstance(each, bytes) else each)
    return reply


def anthropic(blocks: list[dict[str, Any]] = BLOCKS) -> list[bytes]:
    return [each for each in wire.anthropic_stream("m", blocks, wire.Usage(7, 5), False) if isinstance(each, bytes)]


def test_messages_are_read_block_by_block() -> None:
    reply = read(messages, anthropic())
    assert [(each.kind, each.name) for each in reply.blocks] == [
        ("thinking", ""), ("text", ""), ("tool_use", "look"), ("tool_use", "ping"),
    ]  # fmt: skip
    assert (reply.thinking, reply.text) == ("hm", "I look.")
    assert json.loads(reply.calls[0].text) == {"city": "Zürich", "days": 3}
    assert (reply.calls[1].text, reply.stop_reason, reply.whole, reply.problems) == ("", "tool_use", True, [])
    assert reply.usage == {"input_tokens": 7, "output_tokens": 5}


def test_chat_completions_come_to_the_same() -> None:
    stream = [each for each in wire.chat_stream("m", BLOCKS, wire.Usage(7, 5), False) if isinstance(each, bytes)]
    reply = read(chat, stream)
    assert [(each.kind, each.text) for each in reply.blocks[:2]] == [("thinking", "hm"), ("text", "I look.")]
    assert [each.name for each in reply.calls] == ["look", "ping"]
    assert (reply.stop_reason, reply.whole, reply.usage["output_tokens"]) == ("tool_use", True, 5)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda events: [events[0], *events], "message_start came twice"),
        (lambda events: events[1:], "before message_start"),
        (
            lambda events: [each.replace(b'"text_delta"', b'"thinking_delta"') for each in events],
            "thinking_delta in a text block",
        ),
        (lambda events: [each for each in events if b"block_start" not in each], "is not open"),
        (lambda events: [each for each in events if b"block_stop" not in each], "is open"),
        (lambda events: [*events[:1], b"event: x\ndata: {oops\n\n", *events[1:]], "cannot be read"),
    ],
)
def test_what_a_client_would_stumble_over_is_noted(spoil: Any, words: str) -> None:
    reply = read(messages, spoil(anthropic([{"text": "hi you"}])))
    assert words in " ".join(reply.problems)


def test_a_stream_without_its_last_event_is_cut_and_one_with_an_error_says_it() -> None:
    assert read(messages, anthropic()[:-1]).end is End.CUT
    error = b'event: error\ndata: {"type": "error", "error": {"message": "overloaded"}}\n\n'
    broken = read(messages, [*anthropic()[:3], error])
    assert (broken.end, broken.said) == (End.ERROR, "overloaded")


def test_a_conversation_becomes_chat_completions() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}
    made = chat.body(
        {
            "model": "m",
            "max_tokens": 9,
            "stream": True,
            "system": [{"type": "text", "text": "Be short."}],
            "tools": [{"name": "look", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "any"},
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [{"type": "text", "text": "I look."}, call]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "up"}]},
            ],
        }
    )
    assert [each["role"] for each in made["messages"]] == ["system", "user", "assistant", "tool"]
    assert made["messages"][2]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a": 1}'}
    assert (made["tool_choice"], made["tools"][0]["function"]["name"]) == ("required", "look")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": {"message": "no"}}, "no"),
        ({"detail": "Not Found"}, "Not Found"),
        (
            {"error": {"message": 'litellm.X: Y - {"error": {"message": "the engine\'s own"}}. More'}},
            "the engine's own",
        ),
        ("<html>\n oops", "oops"),
        ({"error": "Unauthorized"}, "Unauthorized"),
    ],
)
def test_the_servers_own_words_are_found(answer: Any, said: str) -> None:
    assert messages.words(answer) == said


@pytest.mark.parametrize("kind", ["calls", "thinking"])
def test_each_markup_is_found_and_its_parsers_exist(kind: markup.Kind) -> None:
    parsers = registries.of_version("0.33.0").parsers("tool" if kind == "calls" else "reasoning").keys()
    rows: tuple[markup.Markup, ...] = getattr(markup.catalogue(), kind)
    for row in rows:
        assert markup.find(row.sample, kind) == row
        assert set(row.parsers) <= parsers, row.name


@pytest.mark.parametrize(
    "text", ["It is 21 °C in Bern.", "Use `f(x) = {1, 2}` and a < b.", "List: [one, two]", "1 | 2 |> 3"]
)
def test_plain_words_are_no_markup(text: str) -> None:
    assert markup.find(text) is None
    assert markup.find(text, "thinking") is None
    assert not markup.end_of_turn(text)


def test_every_finding_of_the_live_probes_has_its_answer() -> None:
    source = "".join(each.read_text() for each in Path(live.__file__).parent.glob("*.py"))
    for name in re.findall(r'finding\(\s*"([a-z]+\.[a-z-]+)"', source):
        assert name in answers.table(), name
    for rest in re.findall(r'finding\(\s*f"\{peer\.where\}\.([a-z-]+)"', source):
        assert {f"engine.{rest}", f"gateway.{rest}"} <= answers.table().keys(), rest


def facts(*lanes: Lane) -> Facts:
    return Facts(environ={}, home="/", cwd="/", flags=Flags(), static=False, url_target="http://x", lanes=lanes)


def test_the_gateway_is_asked_after_its_engine_and_a_providers_model_only_a_little() -> None:
    engine = Endpoint("engine", "main", "http://127.0.0.1:1", "m")
    gateway = Endpoint("gateway", "litellm", "http://127.0.0.1:2", "claude-local")
    needs = {each.id: each.needs for each in live.checks(facts(Lane("default", engine, gateway)))}
    assert "tools@engine:main" in needs["tools@gateway:default"]
    assert "answers@engine:main" in needs["health@gateway:default"]
    assert needs["client@gateway:default"][0] == "answers@gateway:default"
    paid = Endpoint("gateway", "litellm", "http://127.0.0.1:2", "claude-opus", hosted=True)
    asked = {each.id.partition("@")[0] for each in live.checks(facts(Lane("opus", None, paid)))}
    assert {"answers", "tools", "client"} <= asked
    assert not {"limit", "stream", "parallel", "cache", "thinking"} & asked


def test_an_engine_without_a_gateway_is_asked_as_a_client_would_and_one_of_two_routes_once() -> None:
    engine = Endpoint("engine", "main", "http://127.0.0.1:1", "m")
    assert "client@engine:main" in {each.id for each in live.checks(facts(Lane("m", engine, None)))}
    front = Endpoint("gateway", "litellm", "http://127.0.0.1:2", "a")
    ids = [each.id for each in live.checks(facts(Lane("a", engine, front), Lane("b", engine, front)))]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("address", "fine"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.7", True), ("::ffff:10.0.0.7", True), ("9.9.9.9", False)],
)  # fmt: skip
def test_what_is_on_this_machine_or_configured_is_not_off_it(address: str, fine: bool) -> None:
    assert network._fine(address, {"10.0.0.7"}) is fine


@pytest.mark.parametrize(
    "answer",
    [
        b'{"content": {"a": 1}}',
        b'{"content": [5, null]}',
        b'{"content": "text", "usage": [1]}',
        b'{"choices": [null], "content": [7]}',
        b'{"content": 7}',
        b'{"content": ' + b"[" * 100_000,
        b"[1, 2]",
        b"null",
    ],
    ids=lambda each: each[:24].decode(),
)
@pytest.mark.parametrize("speaks", [messages, chat])
def test_what_is_no_answer_of_the_protocol_is_said_and_breaks_nothing(speaks: Any, answer: bytes) -> None:
    reply = Reply(status=200)
    peer.read_whole(io.BytesIO(answer), speaks.whole, reply, 0.0)
    assert reply.end is End.ERROR or not reply.blocks
    assert reply.end is not End.ERROR or reply.said
