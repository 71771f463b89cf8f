"""What a 135M model cannot be made to do: tool calls, thinking, errors and silences, through real LiteLLM."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import sse, stack, turns
from tests.fakes.stack import Stack

pytestmark = pytest.mark.e2e

TOOLS = [
    {"name": "list_files", "description": "All files", "input_schema": {"type": "object", "properties": {}}},
    {
        "name": "weather",
        "description": "The weather",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
]
FUNCTIONS = [
    {"name": each["name"], "description": each["description"], "parameters": each["input_schema"]} for each in TOOLS
]
CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "no-arguments": [("list_files", {})],
    "bare-call": [("list_files", {})],
    "two-arguments": [("weather", {"city": 'Zürich "ZH"', "days": 3})],
    "two-calls": [("list_files", {}), ("weather", {"city": "Bern", "days": 1})],
}


def question(text: str, **more: Any) -> dict[str, Any]:
    return {"model": stack.ALIAS, "max_tokens": 512, "messages": [{"role": "user", "content": text}], **more}


def generations(found: Stack) -> list[dict[str, Any]]:
    return [
        each for each in found.requests() if each["path"] in {"/v1/messages", "/v1/chat/completions", "/v1/responses"}
    ]


@pytest.mark.parametrize("word", CALLS)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_tool_call_arrives_whole(scripted: Stack, word: str, stream: bool) -> None:
    answer = scripted.ask("/v1/messages", question(word, tools=TOOLS, stream=stream))
    assert answer.status == 200, answer.raw
    if stream:
        message = sse.read(answer.raw)
        content, reason = message.content, message.stop_reason
    else:
        content, reason = answer.json["content"], answer.json["stop_reason"]
    calls = [(block["name"], block["input"]) for block in content if block["type"] == "tool_use"]
    assert calls == CALLS[word]
    assert reason == "tool_use"


def test_the_result_of_a_tool_goes_back(scripted: Stack) -> None:
    first = scripted.ask("/v1/messages", question("two-arguments", tools=TOOLS)).json
    call = first["content"][0]
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "rain"}
    body = question("two-arguments", tools=TOOLS, stream=True)
    body["messages"] += [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": [result]}]
    assert sse.read(scripted.ask("/v1/messages", body).raw).text == "The tool has answered."


@pytest.mark.parametrize("word", ["no-arguments", "two-arguments"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_tool_call_through_chat_completions(scripted: Stack, word: str, stream: bool) -> None:
    body = question(word, model=stack.SERVED, tools=[{"type": "function", "function": each} for each in FUNCTIONS])
    answer = scripted.ask("/v1/chat/completions", {**body, "stream": stream})
    assert answer.status == 200, answer.raw
    if stream:
        lines = [line[6:] for line in answer.raw.decode().splitlines() if line.startswith("data: {")]
        deltas = [each["choices"][0]["delta"] for each in map(json.loads, lines) if each["choices"]]
        parts = [call["function"] for delta in deltas for call in delta.get("tool_calls") or []]
        name = "".join(part.get("name") or "" for part in parts)
        arguments = "".join(part.get("arguments") or "" for part in parts)
    else:
        call = answer.json["choices"][0]["message"]["tool_calls"][0]["function"]
        name, arguments = call["name"], call["arguments"]
    assert [(name, json.loads(arguments))] == CALLS[word]


@pytest.mark.parametrize("word", ["no-arguments", "two-arguments"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_tool_call_through_responses(scripted: Stack, word: str, stream: bool) -> None:
    body = {"model": stack.SERVED, "input": word, "tools": [{"type": "function", **each} for each in FUNCTIONS]}
    answer = scripted.ask("/v1/responses", {**body, "stream": stream})
    assert answer.status == 200, answer.raw
    if stream:
        lines = [line[6:] for line in answer.raw.decode().splitlines() if line.startswith("data: {")]
        output = [each["item"] for each in map(json.loads, lines) if each["type"] == "response.output_item.done"]
    else:
        output = answer.json["output"]
    calls = [(item["name"], json.loads(item["arguments"])) for item in output if item["type"] == "function_call"]
    assert calls == CALLS[word]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_adaptive_thinking_works_with_a_reasoning_parser(reasoning: Stack, stream: bool) -> None:
    body = question("think-first", max_tokens=3000, thinking={"type": "adaptive"}, stream=stream)
    answer = reasoning.ask("/v1/messages", body)
    assert answer.status == 200, answer.raw
    content = sse.read(answer.raw).content if stream else answer.json["content"]
    assert [(block["type"], block.get("thinking") or block.get("text")) for block in content] == [
        ("thinking", "The user wants a sum."),
        ("text", "It is four."),
    ]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_adaptive_thinking_works_without_a_reasoning_parser(scripted: Stack, stream: bool) -> None:
    body = question(
        "hi", max_tokens=3000, thinking={"type": "adaptive"}, output_config={"effort": "high"}, stream=stream
    )
    answer = scripted.ask("/v1/messages", body)
    assert answer.status == 200, answer.raw


def test_a_thinking_budget_is_left_out_where_the_engine_would_refuse_it(scripted: Stack, reasoning: Stack) -> None:
    body = question("budget", max_tokens=3000, thinking={"type": "enabled", "budget_tokens": 1024})
    for chain, arrives in ((scripted, False), (reasoning, True)):
        assert chain.ask("/v1/messages", body).status == 200
        assert ("thinking" in generations(chain)[-1]["body"]) == arrives


def test_the_scripted_engine_refuses_a_thinking_budget_as_vllm_does(scripted: Stack, real_stack: Stack) -> None:
    body = question("hi", model=stack.SERVED, max_tokens=3000, thinking={"type": "enabled", "budget_tokens": 1024})
    real, fake = (each.ask_engine("/v1/messages", body) for each in (real_stack, scripted))
    assert (real.status, fake.status) == (400, 400)
    assert real.json == fake.json


SAID = {"messages": [{"role": "user", "content": "x"}]}
ASKED: dict[str, dict[str, Any]] = {
    "/v1/messages": SAID,
    "/v1/chat/completions": SAID,
    "/v1/responses": {"input": "x"},
    "/v1/completions": {"prompt": "x"},
}
LENGTHS = [
    ("/v1/messages", "max_tokens"),
    ("/v1/chat/completions", "max_tokens"),
    ("/v1/chat/completions", "max_completion_tokens"),
    ("/v1/responses", "max_output_tokens"),
    ("/v1/completions", "max_tokens"),
]


@pytest.mark.parametrize("model", [stack.ALIAS, stack.SERVED])
@pytest.mark.parametrize(("path", "name"), LENGTHS)
def test_an_answer_longer_than_the_limit_is_clamped_in_every_protocol(
    scripted: Stack, model: str, path: str, name: str
) -> None:
    answer = scripted.ask(path, {"model": model, name: 999_999, **ASKED[path]})
    assert answer.status == 200, answer.raw
    arrived = scripted.requests()[-1]["body"]
    assert [value for key, value in arrived.items() if key.startswith("max_")] == [stack.SCRIPTED_LIMIT]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_a_client_that_sets_no_length_gets_the_limit_and_not_the_whole_window(scripted: Stack, path: str) -> None:
    assert scripted.ask(path, {"model": stack.SERVED, **ASKED[path]}).status == 200
    arrived = scripted.requests()[-1]["body"]
    assert [value for key, value in arrived.items() if key.startswith("max_")] == [stack.SCRIPTED_LIMIT]


def test_an_engines_error_arrives_at_once_in_its_own_words_and_is_not_repeated(scripted: Stack) -> None:
    before = len(generations(scripted))
    answer = scripted.ask("/v1/messages", question("fail-once"))
    assert answer.status == 500
    assert "the engine's own words" in answer.json["error"]["message"]
    assert answer.seconds < 5
    assert len(generations(scripted)) == before + 1
    # the only engine is not put to rest for it
    assert scripted.ask("/v1/messages", question("fail-once")).status == 200


def test_a_refused_request_stays_a_400(scripted: Stack) -> None:
    answer = scripted.ask("/v1/messages", question("refuse-request"))
    assert answer.status == 400
    assert "not like this" in answer.json["error"]["message"]


def test_a_silence_in_a_stream_does_not_cut_it(scripted: Stack) -> None:
    answer = scripted.ask("/v1/messages", question("long-silence", stream=True))
    assert sse.read(answer.raw).text == "Before, and after."
    assert answer.seconds > 4
    assert answer.seconds - answer.first_byte > 3  # the words before the silence were not held back


def test_request_timeout_is_what_ends_a_silent_engine(tmp_path: Path) -> None:
    with stack.scripted_stack(tmp_path, turns.TURNS, gateway={"request_timeout": 2}) as found:
        started = time.monotonic()
        answer = found.ask("/v1/messages", question("long-silence"))
        assert answer.status in {408, 500, 504}
        assert time.monotonic() - started < 6  # three times the stated number


def test_tokens_are_counted_exactly_also_for_the_models_own_name(scripted: Stack) -> None:
    body = {**question("how many words, and how many tokens, has this?"), "model": stack.SERVED}
    counted = scripted.ask("/v1/messages/count_tokens", body)
    own = scripted.ask_engine("/v1/messages/count_tokens", body)
    assert counted.status == own.status == 200
    assert counted.json["input_tokens"] == own.json["input_tokens"] > 0


def test_a_cut_stream_is_not_mistaken_for_a_whole_one(scripted: Stack) -> None:
    answer = scripted.ask("/v1/messages", question("cut-here", stream=True))
    with pytest.raises((sse.StreamError, json.JSONDecodeError)):
        sse.read(answer.raw)


def test_the_engine_sees_its_own_key_and_never_the_clients(scripted: Stack) -> None:
    headers = {"x-api-key": scripted.key, "anthropic-beta": "effort-2025-11-24"}
    scripted.ask("/v1/messages", question("keys"), headers=headers)
    scripted.ask("/v1/chat/completions", question("keys", model=stack.SERVED))
    scripted.ask("/v1/responses", {"model": stack.SERVED, "input": "keys"})
    scripted.ask("/v1/messages/count_tokens", question("keys"))
    seen = scripted.requests()
    assert {each["path"] for each in seen} >= {"/v1/messages", "/v1/chat/completions", "/v1/responses"}
    assert all(each["authorized"] for each in seen if each["path"].startswith("/v1"))
    assert not any("x-api-key" in each["headers"] for each in seen)
    assert scripted.record is not None
    assert scripted.key not in scripted.record.read_text()
