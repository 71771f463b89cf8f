"""Hand-written LiteLLM files: lines in another place, of another shape or under another name than LiteLLM reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stackctl.checks import handmade, lanes
from stackctl.checks.facts import Facts
from stackctl.config import Flags

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = "http://127.0.0.1:8000/v1"
USUAL = {"configuration.retries", "configuration.cooldowns", "configuration.modify-params"}


def facts(config: Mapping[str, Any]) -> Facts:
    return Facts({}, "/", "/", Flags(), True, hand_config=config)


def found(config: Mapping[str, Any]) -> set[str]:
    """The ids of all that is said of a file, but for what is said of any that is this short."""
    seen = facts(config)
    return {each.id for check in handmade.CHECKS if not check.live for each in check.run(seen)} - USUAL


def config(
    row: Mapping[str, Any] | None = None, beside: Mapping[str, Any] | None = None, **sections: Any
) -> dict[str, Any]:
    params = {"model": "hosted_vllm/m", "api_base": BASE} if row is None else row
    rows = [
        {"model_name": "claude-local", "litellm_params": params, **(beside or {})},
        {"model_name": "claude-b", "litellm_params": {"model": "hosted_vllm/m", "api_base": BASE}},
    ]
    general = {"master_key": "os.environ/HOME_KEY"} | sections.pop("general_settings", {})
    settings = {"drop_params": True} | sections.pop("litellm_settings", {})
    own = {"HOME_KEY": "x"}
    return {
        "model_list": rows, "litellm_settings": settings, "general_settings": general, "environment_variables": own, **sections,
    }  # fmt: skip


FALLS = [{"claude-local": ["claude-b"]}, {"claude-b": ["claude-local"]}]


@pytest.mark.parametrize(
    "well",
    [
        config(),
        config({"model": "hosted_vllm/m", "base_url": BASE}),
        config(beside={"model_info": {"mode": "chat"}}),
        config(litellm_settings={"fallbacks": FALLS, "context_window_fallbacks": FALLS}),
        config(router_settings={"fallbacks": FALLS, "default_fallbacks": ["claude-b"]}),
        config(litellm_settings={"fallbacks": None, "default_fallbacks": ["claude-b"]}),
        config({"model": "hosted_vllm/m", "api_base": BASE, "api_key": "100%"}),
        config({"model": "ollama_chat/qwen3:8b", "api_base": "http://127.0.0.1:11434"}),
        config({"model": "ollama/nomic-embed-text", "api_base": "http://127.0.0.1:11434"}),
    ],
)
def test_of_a_file_as_litellm_reads_it_nothing_is_said(well: dict[str, Any]) -> None:
    assert found(well) == set()


@pytest.mark.parametrize(
    ("ill", "id"),
    [
        (config({"model": "anthropic/m", "base_url": "http://127.0.0.1:8000"}), "configuration.base-url"),
        (config({"model": "hosted_vllm/m", "base_url": "http://127.0.0.1:8000"}), "configuration.base-without-v1"),
        (config({"model": "hosted_vllm/m"}, {"api_base": BASE}), "configuration.row-beside"),
        (config({"model": "hosted_vllm/m"}), "configuration.no-base"),
        (config({"model": "ollama/qwen3:8b", "api_base": "http://127.0.0.1:11434"}), "configuration.ollama-generate"),
        (config(litellm_settings={"fallbacks": {"claude-local": ["claude-b"]}}), "configuration.wrong-value"),
        (config(litellm_settings={"context_window_fallbacks": ["claude-b"]}), "configuration.wrong-value"),
        (config(router_settings={"fallbacks": [{"claude-local": ["claude-b"], "claude-b": []}]}), "configuration.wrong-value"),
        (config(litellm_settings={"context_window_fallbacks": [{"claude-local": ["gone"]}]}), "configuration.fallback-target"),
        (config(general_settings={"fallbacks": FALLS}), "configuration.misplaced"),
        (config(litellm_settings={"model_group_alias": {"claude-x": "claude-b"}}), "configuration.misplaced"),
        (config(fallbacks=FALLS), "configuration.misplaced"),
        (config(litellm_settings={"database_url": "os.environ/HOME_KEY"}), "configuration.misplaced"),
    ],
)  # fmt: skip
def test_what_litellm_reads_otherwise_is_named_once(ill: dict[str, Any], id: str) -> None:  # noqa: A002 - as in Finding
    assert found(ill) == {id}


@pytest.mark.parametrize(
    "said",
    [
        "os.getenv('ENGINE_KEY')", 'os.environ["ENGINE_KEY"]', "os.environ.get('ENGINE_KEY')", "${ENGINE_KEY}", "{{ENGINE_KEY}}",
        "${ENGINE_KEY:-none}", "{{ env.ENGINE_KEY }}", "process.env.ENGINE_KEY", "%ENGINE_KEY%", "env.ENGINE_KEY", "$ENGINE_KEY",
    ],
)  # fmt: skip
def test_a_variable_in_another_programs_writing_is_known(said: str) -> None:
    assert found(config({"model": "hosted_vllm/m", "api_base": BASE, "api_key": said})) == {
        "configuration.not-expanded"
    }


def test_an_engine_is_asked_at_its_base_url_as_litellm_does() -> None:
    rows = config({"model": "hosted_vllm/m", "base_url": BASE})
    asked = Facts({}, "/", "/", Flags(), True, hand_config=rows, hand_file="f", url_target="http://127.0.0.1:9")
    [first, *_] = lanes.build(asked, key=None, keys={})
    assert first.engine is not None
    assert first.engine.url == "http://127.0.0.1:8000"
