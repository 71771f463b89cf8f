"""Values of a hand-written LiteLLM file that LiteLLM does not take, and servers that it leans on."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from stackctl.checks.facts import Facts
from stackctl.checks.handmade import leans, settings, values
from stackctl.config import Flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from stackctl.model import Finding

    Run = Callable[[Facts], Iterable[Finding]]

KEY = "sk-engine-0123456789abcdef"
WELL: dict[str, Any] = {
    "model_list": [
        {
            "model_name": "claude-local",
            "litellm_params": {
                "model": "hosted_vllm/m",
                "api_base": "http://127.0.0.1:8000/v1",
                "api_key": "os.environ/ENGINE_KEY",
                "timeout": "600",
                "rpm": 600,
                "additional_drop_params": ["thinking"],
                "extra_headers": {"Authorization": f"Bearer {KEY}", "x-team": "a"},
            },
            "model_info": {"max_input_tokens": 32768},
        }
    ],
    "litellm_settings": {"request_timeout": 600, "num_retries": 0, "cache": False, "drop_params": "true"},
    "router_settings": {"routing_strategy": "least-busy", "cooldown_time": 0.5, "enable_pre_call_checks": True},
    "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
}


def facts(config: Mapping[str, Any], **environ: str) -> Facts:
    return Facts({"ENGINE_KEY": KEY, **environ}, "/", "/", Flags(), static=False, hand_config=config)


def row(**params: Any) -> dict[str, Any]:
    (well,) = WELL["model_list"]
    return {**WELL, "model_list": [{**well, "litellm_params": {**well["litellm_params"], **params}}]}


def of(section: str, **given: Any) -> dict[str, Any]:
    return {**WELL, section: {**WELL[section], **given}}


@pytest.mark.parametrize("check", [*values.CHECKS, *leans.CHECKS], ids=lambda each: each.id)
def test_a_file_of_one_who_knows_litellm_is_left_alone(check: Any) -> None:
    assert list(check.run(facts(WELL))) == []


def test_a_flag_that_is_a_text_counts_as_litellm_counts_it() -> None:
    assert list(settings.parameters(facts(WELL))) == []
    assert [each.id for each in settings.parameters(facts(of("litellm_settings", drop_params="false")))] == [
        "configuration.drop-params"
    ]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (row(timeout="600s"), "`claude-local: timeout` is 600s, and LiteLLM wants a number"),
        (row(api_key=12345678), "`claude-local: api_key` is a number, and LiteLLM wants a text"),
        (of("general_settings", master_key=12345678), "`general_settings.master_key` is a number"),
        (of("router_settings", cooldown_time="5 minutes"), "`router_settings.cooldown_time` is 5 minutes"),
        (
            of("router_settings", routing_strategy="round-robin"),
            "is round-robin, and LiteLLM wants one of simple-shuffle",
        ),
    ],
)
def test_a_value_of_another_kind_is_named_without_telling_a_key(config: dict[str, Any], says: str) -> None:
    (found,) = values.values(facts(config))
    assert says in found.cause
    assert "12345678" not in found.cause + "".join(found.evidence)


def test_what_needs_a_licence_is_fine_with_one() -> None:
    config = of("general_settings", allowed_ips=["10.0.0.1"])
    assert [each.id for each in values.licences(facts(config))] == ["configuration.licensed"]
    assert list(values.licences(facts(config, LITELLM_LICENSE="it"))) == []


def test_what_a_row_drops_or_overrules_is_named() -> None:
    (lost,) = values.drops(facts(row(additional_drop_params=["thinking", "tools", "tool_choice"])))
    assert "drops tool_choice, tools" in lost.cause
    assert lost.fix == ""
    (header,) = values.headers(facts(row(extra_headers={"authorization": "Bearer old"})))
    assert header.fix == "litellm.unset model_list.0.litellm_params.extra_headers.authorization"
    assert list(values.headers(facts(row(api_key="none", extra_headers={"authorization": "Bearer it"})))) == []


def test_a_window_that_is_too_small_matters_where_litellm_looks_at_it() -> None:
    small = {**row(), "model_list": [{**row()["model_list"][0], "model_info": {"max_input_tokens": 4096}}]}
    assert [each.id for each in values.windows(facts(small))] == ["configuration.small-window"]
    assert list(values.windows(facts({**small, "router_settings": {}}))) == []


def test_a_cache_of_other_calls_is_fine() -> None:
    assert [each.id for each in values.cache(facts(of("litellm_settings", cache=True)))] == ["configuration.cache"]
    calls = {"supported_call_types": ["aembedding"]}
    assert list(values.cache(facts(of("litellm_settings", cache=True, cache_params=calls)))) == []


def test_servers_that_litellm_leans_on_are_named_where_they_are_away() -> None:
    with socket.socket() as there, socket.socket() as away:
        for each in (there, away):
            each.bind(("127.0.0.1", 0))
        there.listen()
        up, down = (each.getsockname()[1] for each in (there, away))

        def found(port: int) -> list[tuple[str, str]]:
            config = {
                "general_settings": {"database_url": f"postgresql://u:secret@127.0.0.1:{port}/litellm"},
                "router_settings": {"redis_host": "127.0.0.1", "redis_port": port},
                "environment_variables": {"HTTP_PROXY": f"http://127.0.0.1:{port}"},
            }
            return [(each.id, each.cause) for each in leans.there(facts(config))]

        assert found(up) == []
        fails = found(down)
    assert [each for each, _ in fails] == [
        "configuration.server-away", "configuration.spare-server-away", "configuration.server-away",
    ]  # fmt: skip
    assert "secret" not in str(fails)


def test_a_name_that_only_litellms_own_network_knows_is_no_fault() -> None:
    # Longer than a name can be: nobody is asked for it.
    config = {"general_settings": {"database_url": f"postgresql://u:p@{'d' * 64}.db:5432/litellm"}}
    assert list(leans.there(facts(config))) == []


@pytest.mark.parametrize(
    ("params", "name", "fix"),
    [
        (
            {"model": "hosted_vllm/m "},
            "configuration.stray-blank",
            "litellm.set model_list.0.litellm_params.model hosted_vllm/m",
        ),
        ({"api_key": f" {KEY}"}, "configuration.stray-blank", ""),
        (
            {"custom_llm_provider": "openai"},
            "configuration.two-providers",
            "litellm.unset model_list.0.litellm_params.custom_llm_provider",
        ),
        ({"mock_response": "hi"}, "configuration.mock", "litellm.unset model_list.0.litellm_params.mock_response"),
    ],
)
def test_a_slip_in_a_row_is_named(params: dict[str, Any], name: str, fix: str) -> None:
    checks = (values.blanks, values.mocks, values.overruled)
    found = [each for check in checks for each in check(facts(row(**params)))]
    assert [(each.id, each.fix) for each in found] == [(name, fix)]
    assert KEY not in str(found)


def test_a_model_list_that_is_no_list_is_said_to_be_none() -> None:
    (found,) = settings.readable(facts({**WELL, "model_list": {"claude-local": {}}}))
    assert found.cause == "`model_list` is no list, and LiteLLM wants one: a - before each row"


def test_a_header_that_clients_do_not_send_is_named_unless_they_are_told_to() -> None:
    config = of("general_settings", litellm_key_header_name="X-My-Key")
    assert [each.id for each in values.key_header(facts(config))] == ["configuration.key-header"]
    assert list(values.key_header(facts(config, ANTHROPIC_CUSTOM_HEADERS="x-my-key: Bearer sk-1"))) == []
    assert list(values.key_header(facts(of("general_settings", litellm_key_header_name="x-api-key")))) == []
