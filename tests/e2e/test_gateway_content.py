"""Pictures, documents and a provider's own tools through real LiteLLM: one sentence for a model that cannot, else unchanged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import gateway_blocks
from tests.fakes import sse, stack, turns

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.stack import Stack

pytestmark = pytest.mark.e2e
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
EDIT = {"name": "Edit", "description": "Edits", "input_schema": {"type": "object", "properties": {}}}
ASK = {"type": "text", "text": "What is this?"}
DATA = f"data:image/png;base64,{PIXEL}"


def messages(*content: Any, model: str = stack.ALIAS, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": [ASK, *content]}], **more}


def pictured(model: str, served: str) -> dict[str, dict[str, Any]]:
    """A picture in each protocol; in Anthropic's also as a tool's result."""
    call = {"type": "tool_use", "id": "t1", "name": "Read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [IMAGE]}
    read = messages(model=model)
    read["messages"] += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": DATA}}]
    inputs = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": DATA}]
    return {
        "/v1/messages": messages(IMAGE, model=model),
        "/v1/messages#tool": read,
        "/v1/chat/completions": {"model": served, "messages": [{"role": "user", "content": parts}]},
        "/v1/responses": {"model": served, "input": [{"type": "message", "role": "user", "content": inputs}]},
    }


def test_a_pdf_becomes_a_sentence_and_a_stream_still_streams(scripted: Stack) -> None:
    answer = scripted.ask("/v1/messages", messages(PDF, stream=True))
    assert answer.status == 200, answer.raw
    assert sse.read(answer.raw).text
    assert "reads text only" in json.dumps(scripted.requests()[-1]["body"])


@pytest.mark.parametrize("model", [stack.ALIAS, stack.SERVED])
def test_the_tokens_of_a_request_are_counted_as_it_would_be_sent(scripted: Stack, model: str) -> None:
    counted = {}
    for name, given in {
        "plain": messages(),
        "picture": messages(IMAGE),
        "all": messages(IMAGE, PDF, tools=[SEARCH, EDIT]),
    }.items():
        answer = scripted.ask("/v1/messages/count_tokens", {**given, "model": model})
        assert answer.status == 200, (name, answer.raw)
        counted[name] = answer.json["input_tokens"]
    assert counted["plain"] < counted["picture"] < counted["all"]  # the sentences count


def test_a_search_on_anthropics_servers_ends_in_one_sentence_before_the_engine_is_asked(scripted: Stack) -> None:
    before = len(scripted.requests())
    for stream in (True, False):
        answer = scripted.ask("/v1/messages", messages(tools=[SEARCH], stream=stream))
        assert answer.status == 400
        assert answer.json["error"]["message"] == (
            f"stackctl: web_search is not available: it runs on Anthropic's servers, and {stack.SERVED} runs here"
        )
    assert len(scripted.requests()) == before
    # beside tools of the client's own it is left out
    choice = {"type": "tool", "name": "web_search"}
    assert scripted.ask("/v1/messages", messages(tools=[SEARCH, EDIT], tool_choice=choice)).status == 200
    arrived = scripted.requests()[-1]["body"]
    assert [each["name"] for each in arrived["tools"]] == ["Edit"]
    assert "tool_choice" not in arrived


MODELS = {  # as the catalogue has it, or has not; whether it reads pictures
    "known to read text only": ("Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8", False),
    "known to read pictures": ("Qwen/Qwen3.8-27B-FP8", True),
    "unknown, and reads text only": ("nobody/knows-this", False),
    "unknown, and reads pictures": ("nobody/knows-this", True),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_picture_reaches_the_models_that_can_read_it_and_the_others_are_told(tmp_path: Path, case: str) -> None:
    """In every protocol; a model that nobody knows is asked itself, and refuses once."""
    model, vision = MODELS[case]
    config = stack.scripted_config(tmp_path, turns.TURNS)
    config["engines"]["main"]["model"] = model
    config["engines"]["main"]["command"] += ["--fake-fault", "vision"] if vision else []
    with stack.up(tmp_path, config, record=tmp_path / "record.jsonl") as found:
        bodies = pictured(stack.ALIAS, model)
        if case == "unknown, and reads text only":
            refusal = found.ask("/v1/messages", bodies["/v1/messages"])
            assert refusal.status == 400
            assert f"{model} is not a multimodal model" in refusal.json["error"]["message"]
        for path, body in bodies.items():
            answer = found.ask(path.partition("#")[0], body)
            assert answer.status == 200, (path, answer.raw)
            seen = json.dumps(found.requests()[-1]["body"])
            assert (PIXEL in seen) == vision, path
            assert (f"A picture was here. The model {model} reads text only" in seen) != vision


def test_the_real_engine_refuses_in_the_words_that_are_waited_for(real_stack: Stack, scripted: Stack) -> None:
    cases = {
        gateway_blocks.PICTURES: messages(IMAGE, model=stack.SERVED),
        gateway_blocks.DOCUMENTS: messages(PDF, model=stack.SERVED),
        gateway_blocks.TOOLS: messages(model=stack.SERVED, tools=[SEARCH]),
    }
    for kinds, body in cases.items():
        for chain in (real_stack, scripted):
            answer = chain.ask_engine("/v1/messages", body)
            assert answer.status == 400, answer.raw
            assert gateway_blocks.refused(answer.json["error"]["message"]) == kinds, answer.raw
    assert real_stack.ask("/v1/messages", messages(IMAGE)).status == 200
