"""The proof of "ready" with routes: a token through each, the true windows, and a provider that may be missing."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import starting, supervise
from stackctl.errors import StackError
from stackctl.model import ClientFacts, RouteFacts
from stackctl.supervisor import Ready
from stackctl.verify import Behind, Target, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOWS = {"big": 65536, "small": 8192}


@contextlib.contextmanager
def gateway(refused: dict[str, str], asked: list[dict[str, Any]]) -> Iterator[str]:
    """Gateway and engines in one; `refused` are the words for models that get an error."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

        def do_GET(self) -> None:
            self._answer(200, {"data": [{"id": name, "max_model_len": size} for name, size in WINDOWS.items()]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append(body)
            if body["model"] in refused:
                self._answer(401, {"error": {"message": refused[body["model"]]}})
            else:
                self._answer(200, {"usage": {"output_tokens": 1}})

        def _answer(self, status: int, content: Any) -> None:
            raw = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


def target(url: str) -> Target:
    routes = (
        RouteFacts("haiku", "claude-local-haiku", "small", "attic", 32768, 32000),
        RouteFacts("opus", "claude-local-opus", "anthropic/x"),
    )
    client = ClientFacts(url, "claude-local", "big", None, 32000, 600, routes)
    return Target(client, "key", (Behind("coder", url, "big", None), Behind("attic", url, "small", "k")))


def test_every_route_gives_one_token_and_the_windows_are_the_engines_own() -> None:
    asked: list[dict[str, Any]] = []
    with gateway({}, asked) as url:
        found = verify(target(url))
    assert [body["model"] for body in asked] == ["claude-local", "claude-local-haiku", "claude-local-opus"]
    assert {body["max_tokens"] for body in asked} == {1}
    assert (found.window, found.output_limit) == (65536, 16384)
    haiku, opus = found.routes
    assert (haiku.window, haiku.output_limit) == (8192, 2048)
    assert (opus.window, opus.problem) == (None, "")


def test_an_engine_behind_a_route_that_gives_no_token_is_named() -> None:
    with (
        gateway({"claude-local-haiku": "no such model"}, []) as url,
        pytest.raises(StackError, match=r"route `haiku` from the engine `attic`: no such model") as caught,
    ):
        verify(target(url))
    assert caught.value.remedy == "stackctl logs attic"


def test_an_engine_elsewhere_that_gives_no_token_takes_only_its_route_with_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with gateway({"claude-local-haiku": "nobody is there"}, []) as url:
        made = target(url)
        found = verify(replace(made, engines=(made.engines[0], replace(made.engines[1], elsewhere=True))))
    assert [route.problem for route in found.routes] == ["nobody is there", ""]
    starting.Narrator([], lambda _: None)(Ready(found))
    said = capsys.readouterr().err
    assert "a real token came through the gateway\n" in said
    assert "route haiku (attic): no token: nobody is there" in said


def test_the_engine_that_answers_by_default_must_answer_wherever_it_is() -> None:
    with gateway({"claude-local": "nobody is there"}, []) as url, pytest.raises(StackError, match="nobody is there"):
        made = target(url)
        verify(replace(made, engines=(replace(made.engines[0], elsewhere=True), made.engines[1])))


def test_a_provider_that_gives_no_token_is_noted_and_the_stack_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    with gateway({"claude-local-opus": "invalid x-api-key"}, []) as url:
        found = verify(target(url))
    assert [route.problem for route in found.routes] == ["", "invalid x-api-key"]
    starting.Narrator([], lambda _: None)(Ready(found))
    said = capsys.readouterr().err
    assert "a real token came through the gateway and every route" in said
    assert "route opus (anthropic/x): no token: invalid x-api-key" in said


def test_what_is_to_be_proved_survives_the_way_to_a_detached_supervisor() -> None:
    made = target("http://127.0.0.1:1")
    order = supervise.Order("n", "d", "u", (), made, (), {"engines": {"coder": 1}, "gateway": 2}, None)
    assert supervise.Order.from_json(order.as_json()) == order
