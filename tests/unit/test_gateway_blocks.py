"""What a model cannot read is replaced, wherever it stands in the three protocols, and nothing else is touched."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from stackctl import gateway_blocks as blocks
from stackctl.gateway_blocks import DOCUMENTS, PICTURES, TOOLS

PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
CALL = {"type": "tool_result", "tool_use_id": "t1"}
BOTH = PICTURES | DOCUMENTS


def users(*content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


PICTURED = {
    "anthropic": users({"type": "text", "text": "Look"}, {"type": "image", "source": PNG}),
    "anthropic, by a tool": users({**CALL, "content": [{"type": "image", "source": PNG}]}),
    "chat": users({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}),
    "chat, by a tool": [{"role": "tool", "tool_call_id": "t1", "content": [{"type": "image_url", "image_url": {}}]}],
    "responses": users({"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}),
    "responses, by a tool": [{"type": "function_call_output", "call_id": "t1", "output": [{"type": "input_image"}]}],
}


@pytest.mark.parametrize("case", PICTURED)
def test_a_picture_becomes_a_sentence_with_the_models_name(case: str) -> None:
    given = PICTURED[case]
    before = copy.deepcopy(given)
    assert blocks.holds(given, PICTURES)
    found = blocks.readable(given, "my-model", PICTURES)
    assert given == before
    assert not blocks.holds(found, PICTURES)
    assert "A picture was here. The model my-model reads text only" in repr(found)
    assert ("input_text" in repr(found)) == case.startswith("responses")
    assert blocks.readable(given, "my-model", DOCUMENTS) == given
    assert blocks.readable(given, "my-model", frozenset()) == given


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"type": "document", "source": PDF, "title": "plan.pdf"}, "A document (plan.pdf) was here"),
        ({"type": "document", "source": PDF, "title": "a\x1b[2J"}, "A document was here"),
        ({"type": "file", "file": {"filename": "plan.pdf", "file_data": "x"}}, "A document (plan.pdf) was here"),
        ({"type": "input_file", "filename": "plan.pdf"}, "A document (plan.pdf) was here"),
        ({"type": "document", "source": {"type": "text", "data": "The plan."}}, "'text': 'The plan.'"),
        ({"type": "document", "source": {"type": "content", "content": "The plan."}}, "'text': 'The plan.'"),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "The plan."}]}}, "'text': 'The plan.'"),
        ({"type": "document"}, "A document was here"),
    ],
)  # fmt: skip
def test_a_document_becomes_its_text_or_a_sentence(document: dict[str, Any], says: str) -> None:
    for given in (users(document), users({**CALL, "content": [document]})):
        found = blocks.readable(given, "m", DOCUMENTS)
        assert says in repr(found)
        assert not blocks.holds(found, DOCUMENTS)


def test_a_history_made_on_anthropics_servers_can_be_gone_on_with() -> None:
    use = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "vllm"}}
    hit = {"type": "web_search_result", "title": "vLLM", "url": "https://vllm.ai", "encrypted_content": "SEALED"}
    found = blocks.readable(
        users(use, {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [hit]}), "m", BOTH
    )
    assert {each["type"] for each in found[0]["content"]} == {"text"}
    assert "https://vllm.ai" in repr(found)
    assert "SEALED" not in repr(found)


@pytest.mark.parametrize("given", ["hello", None, 5, users("text"), [None, 1, ["x"]], users({"type": None}), [{"content": None}], users({"type": "tool_use", "input": {"type": "image"}})])  # fmt: skip
def test_everything_else_is_left_as_it_is(given: Any) -> None:
    assert blocks.readable(given, "m", BOTH) == given
    assert not blocks.holds(given, BOTH)


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        ("scripted-coder is not a multimodal model", PICTURES),
        ("At most 0 image(s) may be provided in one prompt.", PICTURES),
        ("image input is not supported - hint: you may need to provide the mmproj", PICTURES),
        ("{'type': 'literal_error', 'msg': \"Input should be 'text', 'image'\", 'input': 'document'}", DOCUMENTS),
        ("{'type': 'missing', 'loc': ('body', 'tools', 0, 'input_schema'), 'msg': 'Field required'}", TOOLS),
        ("This model's maximum context length is 10 tokens", frozenset()),
        ("At most 1 image(s) may be provided in one prompt.", frozenset()),
        ("EngineCore encountered an issue", frozenset()),
    ],
)
def test_what_an_engine_refuses_is_understood(error: str, kinds: frozenset[str]) -> None:
    assert blocks.refused(error) == kinds


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
OWN = {"name": "Edit", "input_schema": {"type": "object"}}


def test_a_providers_tools_are_told_from_the_clients_own() -> None:
    custom = {"type": "custom", "name": "x"}
    assert blocks.server_tools([SEARCH, OWN, custom, None, {"name": "y"}]) == ["web_search"]
    assert blocks.server_tools(None) == []
    data = {"tools": [SEARCH, OWN], "tool_choice": {"type": "tool", "name": "web_search"}, "model": "m"}
    assert blocks.without_server_tools(data) == {"tools": [OWN], "model": "m"}
    kept = {"type": "tool", "name": "Edit"}
    assert blocks.without_server_tools({**data, "tool_choice": kept})["tool_choice"] == kept
