"""What a server that is not ready, not at home or slow says of itself, and what its silence and its words do not mean."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from stackctl.checks import live
from stackctl.checks.facts import Facts
from stackctl.checks.live import answering, asking, client, pages, tools, turns, windows, wording
from stackctl.checks.live.peer import OutOfTime, Peer
from stackctl.config import Flags
from stackctl.model import Finding, Status
from tests.fakes import wire
from tests.unit.test_live_between import answer
from tests.unit.test_live_pages import server

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterator

    from tests.unit.test_live_pages import Answer

JSON = {"Content-Type": "application/json"}


def error(status: int, said: str) -> Answer:
    return status, JSON, json.dumps({"error": {"message": said, "type": "error"}}).encode()


def asked_by_body(refuses: Callable[[dict[str, Any]], bool]) -> contextlib.AbstractContextManager[Peer]:
    """A server that refuses a question for what is in it."""
    refused = error(422, "Extra inputs are not permitted")
    return server(always(answer()), to=lambda body: refused if refuses(body) else answer())


def always(made: Answer) -> Callable[[str, int], Answer]:
    return lambda *_: made


@pytest.mark.parametrize(
    ("status", "said", "id"),
    [
        (503, "Loading model", "engine.loading"),
        (503, "Model my/model is currently loading", "engine.loading"),
        (404, "No models loaded. Please load a model in the developer page.", "engine.not-loaded"),
        (400, "No models loaded.", "engine.not-loaded"),
        (400, "Client sent an HTTP request to an HTTPS server.", "engine.wants-tls"),
        (529, "Overloaded", "engine.crowded"),
        (500, "Overloaded", "engine.error"),
        (400, "The plain HTTP request was sent to HTTPS port", "engine.wants-tls"),
    ],
)
def test_a_server_that_is_not_ready_says_so_and_is_believed(status: int, said: str, id: str) -> None:  # noqa: A002 - as in Finding
    with server(always(error(status, said))) as peer:
        [found] = answering.token(peer, None)
    assert (found.id, found.status) == (id, Status.FAIL)


def test_an_engine_whose_health_says_that_it_loads_has_lost_no_core() -> None:
    with server(always(error(503, "Loading model")), at=lambda _: error(503, "Loading model")) as peer:
        assert [each.id for each in answering.health(peer)] == ["engine.loading"]
    with server(always((503, {}, b"")), at=lambda _: (503, {}, b"")) as peer:
        assert [each.id for each in answering.health(peer)] == ["engine.core-dead"]


@pytest.mark.parametrize("status", [521, 522, 524])
def test_cloudflares_own_statuses_are_its_own(status: int) -> None:
    page = f"<!DOCTYPE html><html><head><title>x.org | {status}: A timeout occurred</title></head></html>"
    assert pages.proxy(status, page, {"server": "cloudflare"}) == "cloudflare"
    assert not pages.proxy(status, '{"error": {"message": "no"}}', {})


def test_a_question_that_was_waited_for_less_long_than_a_plain_one_takes_says_nothing() -> None:
    gone = threading.Event()

    def late(*_: object) -> Answer:
        gone.wait(20)
        return answer()

    with server(late) as slow:
        slow.seen.took, slow.ends = 9.0, time.monotonic() + 0.5
        with pytest.raises(OutOfTime):
            list(tools.calls(slow, None))
        with pytest.raises(OutOfTime):
            list(asking.unknown_model(slow, None))
        gone.set()


def test_the_check_of_a_slow_server_is_left_out_and_not_failed() -> None:
    def slow(*_: object) -> Iterator[Finding]:
        yield Finding("engine.buffers", Status.WARN, "seen before", hop="engine")
        raise OutOfTime

    facts = Facts({}, "/", "/", Flags(), False)
    with server(always(answer())) as peer:
        assert [each.id for each in live.said(facts, peer, slow(), tools.calls)] == ["engine.buffers"]
        assert [each.id for each in live.said(facts, peer, itertools.islice(slow(), 1, None), tools.calls)] == [
            "doctor.no-time"
        ]


def test_a_model_without_eyes_may_say_so_with_any_status() -> None:
    with server(always(error(500, "image input is not supported - hint: you may need to provide the mmproj"))) as peer:
        assert list(turns.image(peer, None)) == []
    with server(always(error(500, "list index out of range"))) as peer:
        assert [each.id for each in turns.image(peer, None)] == ["engine.image-error"]


def test_a_server_that_refuses_tools_at_all_is_not_blamed_for_their_results_too() -> None:
    with server(always(error(400, "gemma3:latest does not support tools"))) as peer:
        assert list(turns.tool_result(peer, None)) == []
    bodies = iter([error(400, "conversation roles must alternate"), answer()])
    with server(lambda *_: next(bodies)) as peer:
        assert [each.id for each in turns.tool_result(peer, None)] == ["behaviour.tool-result"]


def stream(blocks: list[dict[str, Any]]) -> Answer:
    events = wire.anthropic_stream("m", blocks, wire.Usage(7, 5), False)
    return 200, {"Content-Type": "text/event-stream"}, b"".join(each for each in events if isinstance(each, bytes))


def test_events_without_their_names_are_passed_over_by_clients() -> None:
    status, headers, body = stream([{"text": "hi"}])
    bare = b"\n".join(line for line in body.split(b"\n") if not line.startswith(b"event:"))
    with server(always((status, headers, bare))) as peer:
        [found] = answering.token(peer, None)
    assert found.id == "behaviour.blocks"
    assert "`event:`" in found.evidence[0]


def test_an_answer_that_is_all_thought_leaves_nothing_to_show() -> None:
    with server(always(stream([{"thinking": "The sea is wide and blue."}]))) as peer:
        assert [each.id for each in wording.plain(peer, None)] == ["behaviour.all-thinking"]
    bodies = iter([stream([{"thinking": "The sea."}]), stream([{"thinking": "The sea."}, {"text": "It is wide."}])])
    with server(lambda *_: next(bodies)) as peer:  # a model that once wrote nothing more
        assert list(wording.plain(peer, None)) == []


@pytest.mark.parametrize(("second", "ids"), [("call_0", ["behaviour.same-id"]), ("call_1", [])])
def test_each_call_has_an_id_of_its_own(second: str, ids: list[str]) -> None:
    def call(tool: str, given: dict[str, Any], name: str) -> Answer:
        status, headers, body = stream([{"tool": tool, "input": given}])
        return status, headers, re.sub(rb"chatcmpl-tool-\w+", name.encode(), body)

    bodies = iter([call("check_ping", {}, "call_0"), call("check_weather", {"city": "Bern", "days": 3}, second)])
    with server(lambda *_: next(bodies)) as peer:
        assert [each.id for each in tools.calls(peer, None)] == ids


def telling(path: str, what: object) -> Callable[[str], Answer]:
    return lambda asked: (200, JSON, json.dumps(what).encode()) if asked == path else (404, JSON, b"{}")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/v1/models", {"data": [{"id": "x", "max_model_len": 9}, {"id": "m", "max_model_len": 8192}]}),
        ("/v1/models", {"data": [{"id": "m", "meta": {"n_ctx": 8192, "n_ctx_train": 262144}}]}),
        ("/props", {"default_generation_settings": {"n_ctx": 8192}, "total_slots": 4}),
        ("/api/ps", {"models": [{"name": "m", "model": "m", "context_length": 8192}]}),
        ("/api/v0/models", {"data": [{"id": "m", "loaded_context_length": 8192, "max_context_length": 262144}]}),
        ("/info", {"model_id": "m", "max_total_tokens": 8192}),
    ],
)
def test_a_window_that_no_agent_fits_into_is_read_where_the_server_tells_it(path: str, what: object) -> None:
    with server(always(answer()), at=telling(path, what)) as peer:
        [found] = windows.large_enough(peer, None)
    assert (found.id, found.status) == ("engine.small-window", Status.FAIL)
    assert "8192" in found.cause
    assert path in found.evidence[0]
    large = json.loads(json.dumps(what).replace("8192", "65536"))
    with server(always(answer()), at=telling(path, large)) as peer:
        assert list(windows.large_enough(peer, None)) == []


@pytest.mark.parametrize(
    "what", [{"data": "none"}, {"data": [None, {"id": "m", "meta": None}]}, [], {"data": [{"id": "m"}]}]
)
def test_of_a_server_that_tells_of_no_window_nothing_is_said(what: object) -> None:
    with server(always(answer()), at=telling("/v1/models", what)) as peer:
        assert list(windows.large_enough(peer, None)) == []


@pytest.mark.parametrize(
    ("hurts", "field"),
    [
        (lambda body: "cache_control" in json.dumps(body), "cache_control"),
        (lambda body: isinstance(body["system"], list), "a system prompt in blocks"),
        (lambda body: "output_config" in body, "output_config"),
        (lambda body: True, None),
    ],
)
def test_what_is_refused_is_what_hurts_alone(hurts: Callable[[dict[str, Any]], bool], field: str | None) -> None:
    with asked_by_body(hurts) as peer:
        [found] = client.request(peer, None)
    assert found.id == ("client.field-refused" if field else "client.request-refused")
    assert field is None or f"`{field}`" in found.cause
