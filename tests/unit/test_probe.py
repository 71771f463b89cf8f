"""Probes against real sockets that misbehave: always a result, always in time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from stackctl import probe
from stackctl.model import Probe
from tests.fakes.crowded import crowded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    servers: list[socket.socket] = []

    def _serve(answer: Callable[[socket.socket], None]) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def loop() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer = server.accept()[0]
                    threading.Thread(target=one, args=(peer,), daemon=True).start()

        def one(peer: socket.socket) -> None:
            with contextlib.suppress(OSError), peer:
                answer(peer)

        threading.Thread(target=loop, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield _serve
    for each in servers:
        each.close()


def _drip(peer: socket.socket, start: bytes) -> None:
    peer.recv(4096)
    peer.sendall(start)
    for _ in range(100):
        time.sleep(0.1)
        peer.sendall(b"x")


def test_a_good_answer(serve: Callable[..., str]) -> None:
    heard: list[bytes] = []

    def answer(peer: socket.socket) -> None:
        heard.append(peer.recv(4096))
        peer.sendall(OK)

    got = probe.request(Probe(serve(answer) + "/a?b=c", method="POST", headers={"X-Key": "k"}, body={"n": 1}))
    assert got.ok
    assert (got.status, got.body, got.error) == (200, b"hi", "")
    assert heard[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert b"X-Key: k" in heard[0]
    assert b"Content-Type: application/json" in heard[0]


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_the_deadline_covers_headers_and_a_dripping_body(serve: Callable[..., str], start: bytes) -> None:
    url = serve(lambda peer: _drip(peer, start))
    began = time.monotonic()
    got = probe.request(Probe(url, timeout=0.6))
    assert time.monotonic() - began < 8  # it drips for ten
    assert got.timed_out
    assert not got.ok
    assert "within 0.6 s" in got.error


def test_a_server_that_accepts_and_never_answers(serve: Callable[..., str]) -> None:
    got = probe.request(Probe(serve(lambda _peer: time.sleep(3)), timeout=0.4))
    assert got.timed_out
    assert got.error == "no answer within 0.4 s"


def test_a_listener_that_takes_nobody_more_is_told_from_one_that_never_answers() -> None:
    with crowded() as url:
        got = probe.request(Probe(url, timeout=0.4))
    assert got.timed_out
    assert got.error == "no connection within 0.4 s"


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert probe.request(Probe(f"http://127.0.0.1:{port}/")).error == "connection refused"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", "cut off"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"HTTP/1.1 301 Go\r\nLocation: http://example.invalid/\r\nContent-Length: 0\r\n\r\n", "status 301"),
    ],
)
def test_bad_answers_are_said_in_words(serve: Callable[..., str], answer: bytes, words: str) -> None:
    def send(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(answer)

    got = probe.request(Probe(serve(send), timeout=5))
    assert not got.ok
    assert words in got.error


def test_json_nested_too_deeply_is_no_json(serve: Callable[..., str]) -> None:
    def send(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000)

    got = probe.request(Probe(serve(send), timeout=5))
    assert (got.ok, got.json()) == (True, None)


@pytest.mark.parametrize("url", ["http://", "nonsense", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "http://[bad/"])
def test_a_bad_address_is_a_result_too(url: str) -> None:
    got = probe.request(Probe(url, timeout=2))
    assert not got.ok
    assert got.error


def test_no_proxy_is_used(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    def send(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(OK)

    assert probe.request(Probe(serve(send))).ok


def test_an_endless_answer_is_cut(serve: Callable[..., str]) -> None:
    def send(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.sendall(b"x" * 65536)

    got = probe.request(Probe(serve(send), timeout=20))
    assert len(got.body) == probe.MOST
