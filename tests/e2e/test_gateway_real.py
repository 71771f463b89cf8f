"""Claude Code's and OpenAI's protocols through real LiteLLM to a real vLLM whose API key is on.

The model is too small to be right about anything: these tests look at the exchange, not at the prose.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import claude, sse, stack
from tests.fakes.stack import Stack

pytestmark = pytest.mark.e2e

WEATHER = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def question(text: str = "Say hi.", **more: Any) -> dict[str, Any]:
    return {"model": stack.ALIAS, "max_tokens": 24, "messages": [{"role": "user", "content": text}], **more}


def as_engine(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "model": stack.SERVED}


def test_streamed_text_is_well_formed(real_stack: Stack) -> None:
    answer = real_stack.ask("/v1/messages?beta=true", question(stream=True))
    assert answer.status == 200
    message = sse.read(answer.raw)
    assert [block["type"] for block in message.content] == ["text"]
    assert message.text
    assert message.stop_reason in {"end_turn", "max_tokens"}
    assert 0 < message.usage["output_tokens"] <= 24


def test_streamed_text_with_an_inline_system_message_is_well_formed(real_stack: Stack) -> None:
    body = question(stream=True, system=[{"type": "text", "text": "You are brief."}])
    body["messages"] = [
        {"role": "user", "content": "Say hi."},
        {"role": "system", "content": "<system-reminder>The user likes birds.</system-reminder>"},
    ]
    answer = real_stack.ask("/v1/messages", body)
    assert answer.status == 200, answer.raw
    assert sse.read(answer.raw).text


def test_an_answer_without_streaming(real_stack: Stack) -> None:
    answer = real_stack.ask("/v1/messages", question())
    assert answer.status == 200
    assert answer.json["role"] == "assistant"
    assert answer.json["content"][0]["text"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"system": "You are a careful assistant that counts its words."},
        {"tools": [WEATHER]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "naïve café, 東京 🗼"}]}]},
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
                {"role": "user", "content": "again " * 300},
            ]
        },
    ],
    ids=["one line", "a system prompt", "a tool", "not ascii", "turns"],
)
def test_count_tokens_equals_the_engines_own_count(real_stack: Stack, more: dict[str, Any]) -> None:
    body = {key: value for key, value in (question() | more).items() if key != "max_tokens"}
    counted = real_stack.ask("/v1/messages/count_tokens", body)
    own = real_stack.ask_engine("/v1/messages/count_tokens", as_engine(body))
    assert (counted.status, own.status) == (200, 200)
    assert counted.json["input_tokens"] == own.json["input_tokens"] > 0
    assert counted.json["litellm_count_source"] == "provider"


@pytest.mark.parametrize("stream", [False, True])
def test_cache_reads_are_reported_on_a_repeated_prefix(real_stack: Stack, stream: bool) -> None:
    body = question(
        system=f"Rules for {stream}: " + " ".join(f"rule {number}." for number in range(120)), stream=stream
    )

    def usage() -> dict[str, Any]:
        answer = real_stack.ask("/v1/messages", body)
        assert answer.status == 200
        found = sse.read(answer.raw).usage if stream else answer.json["usage"]
        assert isinstance(found, dict)
        return found

    first, second = usage(), usage()
    assert not first.get("cache_read_input_tokens")
    assert second["cache_read_input_tokens"] >= 256
    kinds = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert sum(first[kind] for kind in kinds) == sum(second[kind] for kind in kinds) > 500


def test_max_tokens_beyond_the_window_is_clamped(real_stack: Stack) -> None:
    body = question(max_tokens=999_999)
    refused = real_stack.ask_engine("/v1/messages", as_engine(body))
    assert refused.status == 400
    assert "cannot be greater than max_model_len" in refused.json["error"]["message"]
    answer = real_stack.ask("/v1/messages", body)
    assert answer.status == 200, answer.raw
    assert answer.json["usage"]["output_tokens"] <= stack.OUTPUT_LIMIT


@pytest.mark.parametrize("stream", [False, True])
def test_adaptive_thinking_works_without_a_reasoning_parser(real_stack: Stack, stream: bool) -> None:
    body = question(stream=stream, thinking={"type": "adaptive"}, output_config={"effort": "high"})
    answer = real_stack.ask(
        "/v1/messages", body, headers={"anthropic-beta": "effort-2025-11-24,interleaved-thinking-2025-05-14"}
    )
    assert answer.status == 200, answer.raw
    content = sse.read(answer.raw).content if stream else answer.json["content"]
    assert [block["type"] for block in content] == ["text"]


@pytest.mark.parametrize("model", [stack.SERVED, stack.ALIAS])
def test_chat_completions_for_openai_clients(real_stack: Stack, model: str) -> None:
    body = question(model=model)
    answer = real_stack.ask("/v1/chat/completions", body)
    assert answer.status == 200, answer.raw
    assert answer.json["choices"][0]["message"]["content"]
    assert 0 < answer.json["usage"]["completion_tokens"] <= 24
    streamed = real_stack.ask("/v1/chat/completions", {**body, "stream": True})
    assert streamed.status == 200
    chunks = [json.loads(line[6:]) for line in streamed.raw.decode().splitlines() if line.startswith("data: {")]
    assert "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks if each["choices"])
    assert [
        each["choices"][0]["finish_reason"]
        for each in chunks
        if each["choices"] and each["choices"][0].get("finish_reason")
    ]
    assert streamed.raw.rstrip().endswith(b"data: [DONE]")


def test_responses_for_openai_clients(real_stack: Stack) -> None:
    body = {"model": stack.SERVED, "input": "Say hi.", "max_output_tokens": 24}
    answer = real_stack.ask("/v1/responses", body)
    assert answer.status == 200, answer.raw
    assert answer.json["output"][0]["content"][0]["text"]
    streamed = real_stack.ask("/v1/responses", {**body, "stream": True})
    assert streamed.status == 200
    kinds = [line[7:] for line in streamed.raw.decode().splitlines() if line.startswith("event: ")] or [
        json.loads(line[6:])["type"] for line in streamed.raw.decode().splitlines() if line.startswith("data: {")
    ]
    assert kinds[0] == "response.created"
    assert "response.output_text.delta" in kinds
    assert kinds[-1] == "response.completed"


def test_both_aliases_and_the_models_own_name_are_listed_with_the_true_window(real_stack: Stack) -> None:
    answer = real_stack.ask("/v1/models")
    windows = {each["id"]: each.get("max_input_tokens") for each in answer.json["data"]}
    assert windows == dict.fromkeys((stack.ALIAS, stack.TWIN, stack.LEGACY_ALIAS, stack.SERVED), stack.WINDOW)
    assert real_stack.ask("/v1/messages", question(model=stack.LEGACY_ALIAS)).status == 200


def test_a_model_that_is_not_served_is_named(real_stack: Stack) -> None:
    answer = real_stack.ask("/v1/messages", question(model="claude-opus-4-8"))
    assert 400 <= answer.status < 500
    assert "claude-opus-4-8" in answer.json["error"]["message"]


def test_claude_code_takes_a_turn_straight_from_vllm(real_stack: Stack, claude_code: Path, tmp_path: Path) -> None:
    direct = {
        real_stack.url: real_stack.engine_url,
        real_stack.key: real_stack.engine_key,
        stack.ALIAS: stack.SERVED,
        str(stack.OUTPUT_LIMIT): "32",  # it rambles to its limit, and Claude Code asks again
    }
    env = {name: direct.get(value, value) for name, value in real_stack.env().items()}
    ended = claude.run(claude_code, "say hi", home=tmp_path / "home", cwd=tmp_path / "work", env=env, timeout=240)
    usage = ended.result["modelUsage"][stack.SERVED]
    assert usage["contextWindow"] == stack.WINDOW
    assert usage["outputTokens"] > 0
    assert sum(usage[kind] for kind in ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")) > 1000
    print(f"claude took a turn in {ended.seconds:.1f} s, exit code {ended.code}")


def test_no_key_is_in_a_log_or_in_the_rendered_files(real_stack: Stack) -> None:
    kept = [path for path in real_stack.home.rglob("*") if path.is_file() and path.name != "client.key"]
    assert {"engine.log", "gateway.log", "litellm_config.yaml", "stackctl_auth.py"} <= {path.name for path in kept}
    keys = {real_stack.key, real_stack.master_key, real_stack.engine_key}
    assert min(map(len, keys)) >= 64
    for path in kept:
        text = path.read_bytes()
        for key in keys:
            assert key.encode() not in text, f"a key is in {path.name}"
