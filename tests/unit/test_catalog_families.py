# ruff: noqa: RUF001 - DeepSeek really writes its tokens with full-width bars
"""Model families: each example finds its own row, and nothing dangerous is derived from the data."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stackctl import catalog
from stackctl.catalog import families

if TYPE_CHECKING:
    from pathlib import Path

ALL = families.catalogue().families
TEMPLATES = families.catalogue().templates
EXAMPLES = [(row, name) for row in ALL for name in row.examples]


@pytest.mark.parametrize(("row", "name"), EXAMPLES, ids=[name for _, name in EXAMPLES])
def test_every_example_finds_exactly_its_own_row(row: families.Family, name: str) -> None:
    assert families.match(name) is row
    assert families.match(name.upper()) is row
    last = name.rsplit("/", 1)[-1]
    if not any("/" in pattern for pattern in row.match):
        assert families.match(f"unsloth/{last}-AWQ") is row, "a quantised re-upload"


def test_every_row_has_an_example_a_source_and_a_pattern() -> None:
    assert len(ALL) >= 87
    for row in ALL:
        assert row.examples
        assert row.source
        assert row.match
        assert not row.markers
        assert row.tool or row.warn or row.needs_plugin, f"{row.match}: says neither a parser nor why there is none"


def test_a_row_is_never_hidden_by_an_earlier_one() -> None:
    found = {id(families.match(name)) for _, name in EXAMPLES}
    assert found == {id(row) for row in ALL}


def test_no_flag_runs_code_of_the_repository() -> None:
    for row in (*ALL, *TEMPLATES):
        words = " ".join((*row.flags, *map(str, row.flags.values()))).lower()
        assert "trust" not in words
        assert "plugin" not in words
        assert not any(flag.startswith("-") or " " in flag or "_" in flag for flag in row.flags), "vLLM's own spelling"


@pytest.mark.parametrize(
    ("model", "tool", "reasoning"),
    [
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8", "qwen3_xml", None),
        ("Qwen/Qwen3.5-Coder-32B-Instruct", "qwen3_coder", "qwen3"),
        ("cpatonn/Qwen3-VL-30B-A3B-Thinking-AWQ-4bit", "hermes", "qwen3"),
        ("NousResearch/Hermes-3-Llama-3.1-8B", "hermes", None),
        ("unsloth/Llama-3.1-8B-Instruct", "llama3_json", None),
        ("LiquidAI/LFM2.5-1.2B-Thinking", "lfm2", "qwen3"),
        ("LiquidAI/LFM2.5-1.2B-Instruct", "lfm2", None),
        ("allenai/Olmo-3-32B-Think", "olmo3", "olmo3"),
        ("allenai/Olmo-3-7B-Instruct", "olmo3", None),
        ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", None, "deepseek_r1"),
        ("zai-org/GLM-4.7-Flash", "glm47", "glm45"),
    ],
)
def test_models_that_people_use(model: str, tool: str | None, reasoning: str | None) -> None:
    family = families.match(model)
    assert family is not None
    assert (family.tool, family.reasoning) == (tool, reasoning)


@pytest.mark.parametrize(
    "model", ["", "/", "gpt2", "Qwen3-fans/gpt2", "../../etc", "a" * 10_000, "[*]?", "x/y/z", "mistralai"]
)
def test_an_unknown_name_has_no_family(model: str) -> None:
    assert families.match(model) is None


def test_the_organisation_alone_does_not_decide_except_where_a_row_says_so() -> None:
    family = families.match("mistralai/Something-New")
    assert family is not None
    assert family.match[0] == "mistralai/*"
    assert families.match("gpt-oss-fans/unknown") is None


def test_needing_remote_code_is_said_and_not_done() -> None:
    family = families.match("moonshotai/Kimi-K2-Instruct")
    assert family is not None
    assert family.needs_remote_code
    assert family.flags == {}


def test_a_local_directory_is_known_by_its_name(tmp_path: Path) -> None:
    model = tmp_path / "Qwen2.5-7B-Instruct-AWQ"
    model.mkdir()
    family = families.match(f"{model}/")
    assert family is not None
    assert family.tool == "hermes"


def test_a_hub_cache_snapshot_is_known_by_its_repository(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--openai--gpt-oss-20b" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    family = families.match(str(snapshot))
    assert family is not None
    assert family.tool == "openai"
    link = tmp_path / "mine"
    link.symlink_to(snapshot)
    assert families.match(str(link)) is family


def test_a_local_directory_is_known_by_the_name_in_its_config(tmp_path: Path) -> None:
    model = tmp_path / "m"
    model.mkdir()
    assert families.match(str(model)) is None
    (model / "config.json").write_text(json.dumps({"_name_or_path": "/data/zai-org/GLM-4.6/"}))
    family = families.match(str(model))
    assert family is not None
    assert family.tool == "glm45"
    (model / "config.json").write_text("{")
    assert families.match(str(model)) is None


@pytest.mark.parametrize(
    ("template", "tool"),
    [
        ('{% for t in tools %}<tool_call>\n{"name": <n>, "arguments": <args>}\n</tool_call>{% endfor %}', "hermes"),
        ("<tool_call>\n<function={{ tool_call.name }}>\n<parameter=x>", "qwen3_xml"),
        ("<tool_call>{{ tc.name }}\n<arg_key>{{ k }}</arg_key><arg_value>{{ arguments }}", "glm47"),
        ('[TOOL_CALLS] [{"name": ..., "arguments": ...}]', "mistral"),
        ("<|python_tag|>{{ tool_call.arguments }}", "llama3_json"),
        ("<|tool_calls_section_begin|><|tool_call_begin|>", "kimi_k2"),
        ("<minimax:tool_call>\n<invoke name=", "minimax_m2"),
        ("<|tool_call>call:{{ name }}{", "gemma4"),
        ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}", "deepseek_v3"),
        ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}", "deepseek_v31"),
        ("<｜DSML｜function_calls>", "deepseek_v32"),
        ("<｜DSML｜tool_calls>", "deepseek_v4"),
        ("<|start|>assistant<|channel|>commentary to=functions.f", "openai"),
        ("{{ '<|im_start|>' + message['role'] }} {{ message['content'] }}", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_chat_template_gives_the_way_of_calling_tools_away(template: str, tool: str | None) -> None:
    family = families.from_template(template)
    assert (family.tool if family else None) == tool
    assert family is None or family.confidence == "low"


def test_every_template_row_can_be_reached() -> None:
    for row in TEMPLATES:
        assert row.markers
        assert families.from_template(" ".join(row.markers)) is row


def test_the_catalogue_loads_quickly() -> None:
    families.catalogue()  # imports yaml and msgspec
    best = 1.0
    for _ in range(5):
        began = time.process_time()
        catalog.load("families.yaml", families.Catalogue)
        best = min(best, time.process_time() - began)
    assert best < 3 * 0.015  # 0.006 s measured


def test_the_rows_agree_with_themselves_when_read_again() -> None:
    assert catalog.load("families.yaml", families.Catalogue) == families.catalogue()


TOOL = {"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Read both."},
    {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "read", "arguments": {"path": "a"}}},
                                                         {"function": {"name": "read", "arguments": '{"path": "b"}'}}]},
    {"role": "tool", "content": "A"},
    {"role": "tool", "content": "B"},
    {"role": "assistant", "content": "Both."},
    {"role": "user", "content": "Thanks."},
]  # fmt: skip


def spoken(template: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
    """A conversation as transformers renders it."""
    engine = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    engine.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return engine.from_string(template).render(messages=messages, tools=tools, add_generation_prompt=True)


def test_the_spare_template_writes_tools_and_calls_as_hermes_reads_them() -> None:
    (name,) = {row.spare_template for row in ALL if row.spare_template}
    assert all(row.tool == "hermes" for row in ALL if row.spare_template)
    made = spoken(catalog.text(name), TALK, [TOOL])
    assert made.startswith("<|im_start|>system\nBe brief.\n\n# Tools\n")
    assert f"<tools>\n{json.dumps(TOOL)}\n</tools>" in made
    assert made.endswith(
        "</tool_call><|im_end|>\n<|im_start|>user\nRead both.<|im_end|>\n<|im_start|>assistant\n"
        '<tool_call>\n{"name": "read", "arguments": {"path": "a"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "read", "arguments": {"path": "b"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nA\n</tool_response>\n<tool_response>\nB\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\nBoth.<|im_end|>\n<|im_start|>user\nThanks.<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_spare_template_without_tools_is_plain_chatml() -> None:
    (name,) = {row.spare_template for row in ALL if row.spare_template}
    made = spoken(catalog.text(name), TALK[1:2], None)
    assert made == "<|im_start|>user\nRead both.<|im_end|>\n<|im_start|>assistant\n"
