"""Deployments of one name, beside the first, that are not there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from stackctl.checks import lanes, target
from stackctl.checks.endpoints import Endpoint, Lane
from stackctl.checks.facts import Facts
from stackctl.checks.handmade.rows import others
from stackctl.config import Flags
from tests.unit.test_live_pages import server

if TYPE_CHECKING:
    from pathlib import Path


def found(home: Path, *bases: str) -> list[str]:
    rows = [
        {"model_name": "claude-local", "litellm_params": {"model": "hosted_vllm/q", "api_base": each}} for each in bases
    ]
    lane = Lane("claude-local", Endpoint("engine", "claude-local", bases[0].removesuffix("/v1"), "q"), None)
    facts = Facts({}, str(home), str(home), Flags(), False, hand_config={"model_list": rows}, lanes=(lane,))
    return [each.cause for each in others(facts)]


def test_a_second_deployment_that_is_away_is_named_and_the_first_is_left_to_its_own_checks(tmp_path: Path) -> None:
    with socket.socket() as there, socket.socket() as away:
        for each in (there, away):
            each.bind(("127.0.0.1", 0))
        there.listen()
        up, down = (f"http://127.0.0.1:{each.getsockname()[1]}/v1" for each in (there, away))
        assert found(tmp_path, down, up) == []
        assert found(tmp_path, up, down, down) == [
            f"one of the engines that `claude-local` is shared out among does not answer: {down}"
        ]


def lanes_of(*rows: tuple[str, dict[str, str]]) -> list[tuple[str, str | None]]:
    """What the gateway is asked for, and what its engine is, of each row."""
    found = [{"model_name": name, "litellm_params": params} for name, params in rows]
    facts = Facts(
        {}, "/", "/", Flags(), True, hand_config={"model_list": found}, hand_file="f", url_target="http://127.0.0.1:9"
    )
    return [
        (each.gateway.model if each.gateway else "", each.engine.model if each.engine else None)
        for each in lanes.build(facts, key=None, keys={})
    ]


def test_a_row_that_takes_many_names_is_asked_for_one_of_them() -> None:
    own = {"model": "hosted_vllm/q", "api_base": "http://127.0.0.1:8/v1"}
    assert lanes_of(("claude-*", own), ("gpt-*", own)) == [("claude-sonnet-4-6", "q"), ("gpt-x", "q")]


def test_of_a_name_that_is_handed_on_no_engine_is_asked_and_a_providers_names_cost_nothing() -> None:
    handed = {"model": "hosted_vllm/*", "api_base": "http://127.0.0.1:8/v1"}
    assert lanes_of(("*", handed), ("anthropic/*", {"model": "anthropic/*"})) == [("claude-sonnet-4-6", None)]


def test_a_second_deployment_whose_engine_has_another_model_is_named(tmp_path: Path) -> None:
    listed = b'{"data": [{"id": "other"}]}'
    with server(lambda *_: (200, {}, b"{}"), lambda _: (200, {}, listed)) as second, socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        first.listen()
        one, two = f"http://127.0.0.1:{first.getsockname()[1]}/v1", f"{second.endpoint.url}/v1"
        assert found(tmp_path, one, two) == [
            f"one of the engines that `claude-local` is shared out among does not serve `q`: {two} has `other`"
        ]
        assert found(tmp_path, one, one) == []


def test_only_models_that_write_text_are_asked_unless_none_seems_to() -> None:
    base = {"api_base": "http://127.0.0.1:8/v1"}
    chat, ranks = ("a", base | {"model": "hosted_vllm/q"}), ("b", base | {"model": "hosted_vllm/bge-reranker"})
    assert lanes_of(ranks, chat) == [("a", "q")]
    assert lanes_of(ranks) == [("b", "bge-reranker")]


def test_of_a_list_of_models_the_first_that_writes_text_is_asked() -> None:
    listed = b'{"data": [{"id": "text-embedding-3"}, {"id": "claude-local"}, {"id": "other"}]}'
    with server(lambda *_: (200, {}, b"{}"), lambda _: (200, {}, listed)) as peer:
        assert target.look(peer.endpoint.url, None).model == "claude-local"
    assert target.writes("Qwen/Qwen3-Coder-30B")
    assert not target.writes("BAAI/bge-m3")
