"""What stands between a client and a server, seen in some answers only; and answers out of somebody's cache."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from stackctl.checks import answers, live, runner
from stackctl.checks.endpoints import Endpoint, Lane
from stackctl.checks.facts import Facts
from stackctl.checks.live import answering, between, client, nearby, repeats
from stackctl.checks.live.peer import Peer
from stackctl.config import Flags
from stackctl.model import Status
from tests.fakes import wire
from tests.fakes.crowded import crowded
from tests.unit.test_live_pages import NGINX, server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.test_live_pages import Answer

EVENT_STREAM = {"Content-Type": "text/event-stream"}
LIMITED: Answer = (503, {"Content-Type": "text/html"}, NGINX.format("503 Service Temporarily Unavailable").encode())
UNKNOWN: Answer = (404, {}, b'{"error": {"message": "The model `m` does not exist."}}')


def answer(text: str = "hi", name: str = "") -> Answer:
    events = wire.anthropic_stream("m", [{"text": text}], wire.Usage(7, 5), False)
    made = b"".join(each for each in events if isinstance(each, bytes))
    return 200, EVENT_STREAM, made.replace(b"chatcmpl-", name.encode() + b"chatcmpl-")


def in_turn(*made: Answer, method: str = "POST") -> Callable[[str, int], Answer]:
    """One after the other, for requests of one method."""
    turns = itertools.cycle(made)
    return lambda asked, _: next(turns) if asked == method else (200, {}, b"")


def test_a_proxy_that_answers_some_questions_itself_is_named_in_place_of_what_each_made_of_it() -> None:
    with server(in_turn(answer(), LIMITED)) as peer:
        assert list(answering.token(peer, None)) == []
        refused = peer.ask("hi")
        found = answers.finding("engine.count-fails", Status.WARN, (refused.shown(),), **peer.words())
        told = between.retold(peer, found)
    assert (told.id, told.status) == ("engine.proxy-some", Status.FAIL)
    assert "nginx" in told.cause
    assert "503 Service Temporarily Unavailable" in told.cause


@pytest.mark.parametrize(
    ("host", "name"), [("127.0.0.2", "gateway.refused"), ("127.0.0.1", "gateway.hangs")], ids=["elsewhere", "here"]
)
def test_a_machine_that_nobody_gets_through_to_is_not_said_to_take_connections(host: str, name: str) -> None:
    """As a firewall does it, or an address without a machine."""
    with crowded(host) as url:
        peer = Peer(
            Endpoint("gateway", "server", url, "m"), time.monotonic()
        )  # so that it waits no longer than it must
        (found,) = answering.health(peer)
    assert found.id == name
    assert "no connection within" in f"{found.cause}{found.evidence}"


def test_what_the_server_itself_says_stays_as_it_is() -> None:
    with server(in_turn(answer(), (503, {}, b'{"error": {"message": "overloaded"}}'))) as peer:
        peer.ask("hi")
        refused = peer.ask("hi")
        found = answers.finding("engine.count-fails", Status.WARN, (refused.shown(),), **peer.words())
        assert between.retold(peer, found) is found


def test_a_health_page_that_comes_now_and_then_is_not_a_dead_server() -> None:
    with server(in_turn(LIMITED, (200, {}, b""), method="GET")) as peer:
        assert [each.id for each in answering.health(peer)] == ["engine.proxy-some"]


def test_servers_behind_one_address_that_are_not_alike_are_named() -> None:
    with server(in_turn(UNKNOWN, answer())) as peer:
        assert [each.id for each in answering.token(peer, None)] == ["engine.servers-differ"]
    with server(in_turn(UNKNOWN)) as peer:
        assert [each.id for each in answering.token(peer, None)] == ["engine.model-missing"]


@pytest.mark.parametrize(
    ("made", "name", "says"),
    [
        ((301, {"Location": "https://a.example/v1/messages?by=me"}, b""), "engine.redirect", "https://a.example ;"),
        ((307, {"Location": "https://a.example/login?key=sk-1"}, b""), "engine.redirect", "https://a.example/login ;"),
        ((301, {"Location": "/ui"}, b""), "engine.redirect", "/ui ;"),
        ((204, {}, b""), "engine.not-http", "what holds the port"),
        ((404, {}, NGINX.format("404 Not Found").encode()), "engine.proxy-path", "another path"),
        ((400, {"Server": "squid/5.7"}, b"<html><title>ERROR</title></html>"), "engine.leads-out", "HTTPS_PROXY"),
        ((404, {}, b'{"detail": "Not Found"}'), "engine.no-chat", "a model that chats"),
    ],
    ids=["https", "login", "beside", "nothing", "other path", "forward proxy", "embeddings"],
)
def test_an_address_that_leads_elsewhere_says_where_to_look(made: Answer, name: str, says: str) -> None:
    with server(lambda *_: made) as peer:
        (found,) = answering.token(peer, None)
    assert found.id == name
    assert says in found.remedy
    assert "key=" not in found.cause + found.remedy


def test_a_key_that_does_not_arrive_is_not_called_a_wrong_one() -> None:
    lost = json.dumps({"error": {"message": "Authentication Error, No api key passed in."}}).encode()
    with server(lambda *_: (401, {}, lost)) as peer:
        keyless = [each.id for each in answering.token(peer, None)]
        object.__setattr__(peer.endpoint, "key", "sk-0123456789abcdef")
        assert [each.id for each in answering.token(peer, None)] == ["engine.key-lost"]
    assert keyless == ["engine.no-key"]


def test_a_query_that_something_refuses_is_told_from_a_field_that_the_server_does() -> None:
    with server(in_turn((403, {}, NGINX.format("403 Forbidden").encode()), answer())) as peer:
        assert [each.id for each in client.request(peer, None)] == ["engine.query-refused"]


def test_answers_out_of_a_cache_are_told_from_a_server_whose_ids_mean_nothing() -> None:
    kept, other = answer("hi", uuid.uuid4().hex), answer("blue", uuid.uuid4().hex)
    same = (answer("hi"), answer("hi"), answer("ho"))
    with server(in_turn(*same)) as peer:
        assert list(repeats.stored(peer, None)) == []
    with server(in_turn(kept, kept, other)) as peer:
        assert [(each.id, each.status) for each in repeats.stored(peer, None)] == [("engine.cached", Status.WARN)]
    with server(in_turn(kept)) as peer:
        assert [each.id for each in repeats.stored(peer, None)] == ["engine.cached-for-all"]
    like = (200, EVENT_STREAM, kept[2].replace(b'"hi"', b'"ho"'))
    with server(in_turn(kept, kept, like)) as peer:
        assert list(repeats.stored(peer, None)) == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)",
            "certificate has expired",
        ),
        (
            "[ssl: certificate_verify_failed] certificate verify failed: ip address mismatch, certificate is not valid for '1.2.3.4'. (_ssl.c:1006)",
            "ip address mismatch, certificate is not valid for '1.2.3.4'",
        ),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", ""),
        ("connection refused", ""),
    ],
)
def test_why_a_certificate_is_not_trusted_is_in_openssls_words(error: str, why: str) -> None:
    assert answering.untrusted(error) == why


def test_an_address_with_an_endpoint_behind_it_is_cut_where_the_server_answers() -> None:
    def answered(path: str) -> Answer:
        return (200, {}, b'{"data": []}') if path in {"/v1/models", "/deep/v1/models"} else UNKNOWN

    with server(lambda *_: UNKNOWN, answered) as peer:
        url = peer.endpoint.url
        assert nearby.above(f"{url}/v1/messages") == url
        assert nearby.above(f"{url}/deep/ui") == f"{url}/deep"
        assert nearby.above(url) == ""
    with server(lambda *_: UNKNOWN) as peer:
        assert nearby.above(f"{peer.endpoint.url}/v1/messages") == ""


def test_a_gateway_without_the_path_is_told_from_one_that_asks_its_engine_for_one() -> None:
    with server(lambda *_: (404, {}, b"404 page not found")) as peer:
        front = Peer(dataclasses.replace(peer.endpoint, where="gateway"), time.monotonic() + 30)
        assert [each.id for each in answering.token(front, None)] == ["gateway.no-messages"]
        assert [each.id for each in answering.token(front, peer)] == ["gateway.wrong-path"]


def test_nothing_at_all_with_status_200_is_an_empty_answer() -> None:
    with server(lambda *_: (200, {}, b"")) as peer:
        assert [each.id for each in answering.token(peer, None)] == ["engine.empty"]


def test_code_of_ones_own_is_what_to_look_at_first_where_a_gateway_fails() -> None:
    with server(lambda *_: (500, {}, b'{"error": {"message": "nothing there"}}')) as peer:
        front = dataclasses.replace(peer.endpoint, where="gateway")
        config = {"litellm_settings": {"callbacks": ["my_guard.handler", "prometheus"]}}
        facts = Facts({}, "/", "/", Flags(), False, hand_config=config, hand_file="f", lanes=(Lane("m", None, front),))
        facts = dataclasses.replace(facts, began=time.monotonic())
        found = [each for each in runner.run(live.checks(facts), facts, budget=30) if each.status is Status.FAIL]
    assert [each.id for each in found] == ["gateway.error"]
    assert (
        found[0].evidence[-1]
        == "code of your own runs within each request: litellm_settings.callbacks: my_guard.handler"
    )


def test_a_name_that_litellm_puts_in_place_of_the_one_asked_for_is_said() -> None:
    def refused(name: str) -> Answer:
        said = f"anthropic_messages: Invalid model name passed in model={name}. Call `/v1/models` to view available models."
        return 400, {}, json.dumps({"error": {"message": said}}).encode()

    with server(lambda *_: refused("gpt-4o")) as peer:
        front = Peer(dataclasses.replace(peer.endpoint, where="gateway"), time.monotonic() + 30)
        (found,) = answering.token(front, None)
    assert (found.id, "`m` and looks for `gpt-4o`" in found.cause) == ("gateway.renames", True)
    with server(lambda *_: refused("m")) as peer:
        front = Peer(dataclasses.replace(peer.endpoint, where="gateway"), time.monotonic() + 30)
        assert [each.id for each in answering.token(front, None)] == ["gateway.model-missing"]


def test_a_model_that_is_known_in_one_answer_and_not_in_the_next_is_no_fault_of_the_question() -> None:
    with server(in_turn(answer(), UNKNOWN)) as peer:
        peer.ask("hi")
        refused = peer.ask("hi")
        found = answers.finding("engine.count-fails", Status.WARN, (refused.shown(),), **peer.words())
        assert between.retold(peer, found).id == "engine.servers-differ"
        other = answers.finding("engine.count-fails", Status.WARN, ("status 500",), **peer.words())
        assert between.retold(peer, other) is other


OVERLOADED: Answer = (500, {}, b'{"error": {"message": "overloaded"}}')


def test_a_server_that_fails_now_and_then_is_told_from_one_that_does_not_take_a_question() -> None:
    with server(in_turn(answer(), OVERLOADED, answer())) as peer:
        assert peer.ask("hi").whole
        assert peer.ask("hi").whole
        (found,) = between.unsteady(peer)
        same = answers.finding("engine.count-fails", Status.WARN, ("status 500: overloaded",), **peer.words())
        assert (found.id, found.status) == ("engine.unsteady", Status.WARN)
        assert between.retold(peer, same).id == "engine.unsteady"
    with server(in_turn(answer(), *[OVERLOADED] * 9)) as peer:
        peer.ask("hi")
        assert peer.ask("hi").said == "overloaded"
        assert between.unsteady(peer) == []


def test_of_a_gateway_alone_nothing_is_said_of_an_engine_that_nobody_asked() -> None:
    away = json.dumps({"error": {"message": "Cannot connect to host 127.0.0.1:8123 ssl:default [Connect call failed]"}})
    with server(lambda *_: (500, {}, away.encode())) as peer:
        front = Peer(dataclasses.replace(peer.endpoint, where="gateway"), time.monotonic() + 30, alone=True)
        (found,) = answering.token(front, None)
        assert (found.id, found.cause) == (
            "gateway.engine-away", "the gateway cannot reach the engine behind it at 127.0.0.1:8123",
        )  # fmt: skip
    error = answers.finding("gateway.error", Status.FAIL, said="no", **front.words())
    assert between.retold(front, error).cause == "the gateway makes an error of it: no"


def test_a_server_that_lists_no_model_wants_one_to_be_named() -> None:
    with server(lambda *_: UNKNOWN) as peer:
        nameless = Peer(dataclasses.replace(peer.endpoint, model=""), time.monotonic() + 30)
        assert [each.id for each in answering.token(nameless, None)] == ["engine.no-model"]
