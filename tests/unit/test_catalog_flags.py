"""The parsers of an installed vLLM, read without importing it; and what it would make of a value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from stackctl import plan, vllm_registry
from stackctl.checks import engineflags
from stackctl.checks.facts import Facts
from stackctl.config import Flags
from stackctl.paths import StackPaths
from stackctl.planning import Prepared
from stackctl.ports import Ports
from tests.fakes import machines

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = """# SPDX-License-Identifier: Apache-2.0
from vllm.tool_parsers.abstract_tool_parser import ToolParser, ToolParserManager

raise SystemExit("this must never be run")

_TOOL_PARSERS_TO_REGISTER = {
    "granite-20b-fc": (
        "granite_20b_fc_tool_parser",
        "Granite20bFCToolParser",
    ),
    "hermes": ("hermes_tool_parser", "Hermes2ProToolParser"),  # name
    "qwen3_xml": ("qwen3_engine_tool_parser", "Qwen3EngineToolParser"),
}


def register_lazy_tool_parsers():
    for name, (file_name, class_name) in _TOOL_PARSERS_TO_REGISTER.items():
        ToolParserManager.register_lazy_module(name, f"vllm.tool_parsers.{file_name}", class_name)
"""
REASONING = """_REASONING_PARSERS_TO_REGISTER: dict[str, tuple[str, str]] = {
    "qwen3": ("qwen3_engine_reasoning_parser", "Qwen3ParserReasoningAdapter"),
}
"""


def install(site: Path, package: str, text: str | bytes) -> None:
    directory = site / "vllm" / package
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "__init__.py").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_the_registered_names_are_read_without_running_the_file(tmp_path: Path) -> None:
    install(tmp_path, "tool_parsers", TOOLS)
    install(tmp_path, "reasoning", REASONING)
    assert vllm_registry.tool_parsers([str(tmp_path)]) == frozenset({"granite-20b-fc", "hermes", "qwen3_xml"})
    assert vllm_registry.reasoning_parsers([str(tmp_path)]) == frozenset({"qwen3"})


def test_the_first_site_directory_that_has_it_counts(tmp_path: Path) -> None:
    install(tmp_path / "b", "tool_parsers", TOOLS)
    install(tmp_path / "c", "tool_parsers", '_TOOL_PARSERS_TO_REGISTER = {"other": ("a", "b")}')
    sites = [str(tmp_path / each) for each in ("a", "b", "c")]
    assert vllm_registry.tool_parsers(sites) == frozenset({"granite-20b-fc", "hermes", "qwen3_xml"})


@pytest.mark.parametrize(
    "text",
    ["", "x = 1", "_TOOL_PARSERS_TO_REGISTER = make()", "_TOOL_PARSERS_TO_REGISTER = {}", "def (", b"\xff\xfe\x00", "(" * 5000],
    ids=["empty", "other", "call", "none", "syntax", "binary", "nested"],
)  # fmt: skip
def test_another_layout_is_unknown_and_not_an_error(tmp_path: Path, text: str | bytes) -> None:
    install(tmp_path, "tool_parsers", text)
    assert vllm_registry.tool_parsers([str(tmp_path)]) is None


def test_no_vllm_is_unknown(tmp_path: Path) -> None:
    assert vllm_registry.tool_parsers([]) is None
    assert vllm_registry.reasoning_parsers([str(tmp_path)]) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [("hermse", "hermes"), ("Hermes", "hermes"), ("qwen3-xml", "qwen3_xml"), ("qwen_xml", "qwen3_xml"), ("zzz", None), ("", None)],
)  # fmt: skip
def test_the_nearest_name_is_offered(name: str, expected: str | None) -> None:
    assert engineflags.nearest(name, frozenset({"hermes", "qwen3_xml", "mistral"})) == expected


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"enforce-eager": "false"}, ["configuration.quoted"]),
        ({"enable-prefix-caching": " True"}, ["configuration.quoted"]),
        ({"gpu-memory-utilization": "90%"}, ["configuration.share"]),
        ({"gpu-memory-utilization": 90}, ["configuration.share"]),
        ({"gpu-memory-utilization": True}, ["configuration.share"]),
        ({"gpu-memory-utilization": "0.9", "enforce-eager": False, "max-num-seqs": "4", "load-format": "auto"}, []),
    ],
)
def test_a_value_that_vllm_would_take_for_something_else_is_named(
    tmp_path: Path, args: dict[str, object], said: list[str]
) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(json.dumps({"engines": {"main": {"model": "embedded", "args": args}}}))
    given = machines.inputs(Flags(config=str(file)), machines.CPU)
    made = Prepared(given.loaded, machines.CPU, StackPaths("default"), Ports({}, given.gateway_port), plan.build(given))
    seen = Facts({}, str(tmp_path), str(tmp_path), Flags(config=str(file)), static=True, prepared=made)
    assert [each.id for each in engineflags.values(seen)] == said
