"""What stands between a client and a server, seen in some answers only; and answers out of somebody's cache."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import TYPE_CHECKING

import pytest

from stackctl.checks import answers
from stackctl.checks.live import answering, between, client, repeats
from stackctl.model import Status
from tests.fakes import wire
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
        found = answers.finding("engine.count-fails", Status.WARN, (refused.shown(),), **answering.words(peer))
        told = between.retold(peer, found)
    assert (told.id, told.status) == ("engine.proxy-some", Status.FAIL)
    assert "nginx" in told.cause
    assert "503 Service Temporarily Unavailable" in told.cause


def test_what_the_server_itself_says_stays_as_it_is() -> None:
    with server(in_turn(answer(), (503, {}, b'{"error": {"message": "overloaded"}}'))) as peer:
        peer.ask("hi")
        refused = peer.ask("hi")
        found = answers.finding("engine.count-fails", Status.WARN, (refused.shown(),), **answering.words(peer))
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
        ((404, {}, NGINX.format("404 Not Found").encode()), "engine.proxy-path", "another path"),
        ((400, {"Server": "squid/5.7"}, b"<html><title>ERROR</title></html>"), "engine.leads-out", "HTTPS_PROXY"),
        ((404, {}, b'{"detail": "Not Found"}'), "engine.no-chat", "a model that chats"),
    ],
    ids=["https", "login", "other path", "forward proxy", "embeddings"],
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
