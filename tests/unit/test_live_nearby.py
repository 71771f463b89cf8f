"""A server that listens at another address of this machine than the one that it is asked at."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from stackctl.checks.live import nearby
from stackctl.sockets import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Models(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def do_GET(self) -> None:
        known = self.path in {"/v1/models", "/v1/v1/models", "/v1/chat/v1/models"}  # vLLM wants a key of all below /v1
        self.send_response(200 if known else 404)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


class _Other(_Models):
    def do_GET(self) -> None:
        self.send_error(404)


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server at 127.0.0.2, which is no other address than 127.0.0.1 to nobody but to sockets."""
    with ThreadingHTTPServer(("127.0.0.2", 0), request.param) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("port", [_Models], indirect=True)
def test_the_address_where_a_server_with_models_answers(port: int) -> None:
    assert nearby.instead(f"http://127.0.0.1:{port}") == f"http://127.0.0.2:{port}"


@pytest.mark.parametrize("port", [_Models], indirect=True)
@pytest.mark.parametrize("host", ["192.0.2.77", "nowhere.invalid"])
def test_nothing_is_said_of_another_machine(port: int, host: str) -> None:
    assert not nearby.instead(f"http://{host}:{port}")


@pytest.mark.parametrize("port", [_Models], indirect=True)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/ui"])
def test_an_address_that_is_too_long_ends_before_what_clients_add(port: int, path: str) -> None:
    assert nearby.above(f"http://127.0.0.2:{port}{path}") == f"http://127.0.0.2:{port}"


@pytest.mark.parametrize("port", [_Other], indirect=True)
def test_a_program_without_models_on_the_same_port_is_not_meant(port: int) -> None:
    assert not nearby.instead(f"http://127.0.0.1:{port}")


def test_hosts_are_told_as_a_client_writes_them() -> None:
    listeners = [Listener(host, 8000, 0, 1) for host in ("10.0.0.5", "::ffff:127.0.0.1", "::1", "0.0.0.0")]
    listeners.append(Listener("10.9.9.9", 8001, 0, 1))
    assert nearby.others(listeners, 8000, ["127.0.0.1"]) == ["::1", "10.0.0.5"]
    assert nearby.others(listeners, 8000, ["::1"]) == ["127.0.0.1", "10.0.0.5"]
