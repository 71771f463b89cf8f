"""What stands between a client and a server: proxies that answer in its place, zip, rewrite paths or limit sizes."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from stackctl.checks.endpoints import Endpoint
from stackctl.checks.live import answering, pages, sizes
from stackctl.checks.live.peer import Peer
from stackctl.checks.live.reply import End
from stackctl.model import Status
from tests.fakes import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NGINX = "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n<hr><center>nginx/1.24.0</center>\r\n</body></html>"
HAPROXY = "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>"
EVENTS = b"".join(
    each for each in wire.anthropic_stream("m", [{"text": "hi"}], wire.Usage(7, 5), False) if isinstance(each, bytes)
)
CHAT = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "hi"}}]}
CHUNK = b'data: {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "hi"}}]}\n\ndata: [DONE]\n\n'

Answer = tuple[int, dict[str, str], bytes]


@contextlib.contextmanager
def server(
    answer: Callable[[str, int], Answer],
    at: Callable[[str], Answer] | None = None,
    to: Callable[[dict[str, Any]], Answer] | None = None,
) -> Iterator[Peer]:
    """An engine behind something; `answer` gets the method and the length of the body, `at` the path of a GET, `to` what a
    POST asks.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        server_version, sys_version = "uvicorn", ""

        def do_GET(self) -> None:
            self._say(*(at(self.path) if at else answer("GET", 0)))

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            asked = self.rfile.read(length)
            self._say(*(to(json.loads(asked)) if to else answer("POST", length)))

        def _say(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):  # enough was heard
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        endpoint = Endpoint("engine", "main", f"http://127.0.0.1:{listening.server_port}", "m")
        yield Peer(endpoint, time.monotonic() + 30)
        listening.shutdown()


@pytest.mark.parametrize(
    ("status", "raw", "headers", "made_by"),
    [
        (502, NGINX.format("502 Bad Gateway"), {}, "nginx"),
        (503, HAPROXY, {}, "a proxy"),
        (502, "Bad Gateway", {}, "a proxy"),
        (503, "no healthy upstream", {"server": "envoy"}, "Envoy"),
        (502, "", {"server": "Caddy"}, "Caddy"),
        (502, "error code: 502", {"server": "cloudflare"}, "cloudflare"),
        (500, "Internal Server Error", {"server": "uvicorn"}, ""),
        (500, '{"error": {"message": "nginx is not to blame"}}', {"server": "nginx"}, ""),
        (404, NGINX.format("404 Not Found"), {}, "nginx"),
        (404, "<html><body><pre>Cannot POST /v1/messages</pre></body></html>", {}, ""),
        (400, "<h1>ERROR</h1><p>Invalid URL</p>", {"server": "squid/5.7"}, "squid"),
    ],
)
def test_who_refused_is_told_by_the_page(status: int, raw: str, headers: dict[str, str], made_by: str) -> None:
    assert pages.proxy(status, raw, headers) == made_by


def test_a_page_is_said_in_its_own_words() -> None:
    assert pages.title(NGINX.format("502 Bad Gateway")) == "502 Bad Gateway"
    assert pages.title("<html><body>Sign&nbsp;in <b>first</b></body></html>") == "Sign in first"


@pytest.mark.parametrize(
    ("status", "said"), [(502, "cannot reach"), (504, "waited in vain"), (413, "no request of that size")]
)
def test_a_proxy_that_answers_in_the_engines_place_is_named(status: int, said: str) -> None:
    page = NGINX.format(f"{status} Whatever").encode()
    with server(lambda *_: (status, {"Content-Type": "text/html"}, page)) as peer:
        (found,) = answering.token(peer, None)
    assert (found.id, found.status) == ("engine.proxy", Status.FAIL)
    assert "nginx" in found.cause
    assert said in found.cause
    assert "<" not in found.cause


def test_its_health_page_names_the_proxy_as_well() -> None:
    with server(lambda *_: (502, {}, NGINX.format("502 Bad Gateway").encode())) as peer:
        assert [each.id for each in answering.health(peer)] == ["engine.proxy"]


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}, gzip.compress(EVENTS)),
        ({"Content-Type": "application/json"}, EVENTS),
        ({"Content-Type": "text/event-stream"}, EVENTS.replace(b"\n", b"\r\n")),
    ],
    ids=["zipped", "called JSON", "CRLF"],
)
def test_what_a_client_can_read_is_fine(headers: dict[str, str], content: bytes) -> None:
    with server(lambda *_: (200, headers, content)) as peer:
        assert list(answering.token(peer, None)) == []


def test_a_broken_zip_is_said_to_be_one() -> None:
    headers = {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}
    with server(lambda *_: (200, headers, EVENTS)) as peer:
        reply = peer.ask("hi")
    assert reply.end is not End.WHOLE
    assert "Content-Encoding" in reply.said


@pytest.mark.parametrize(
    ("kind", "content"), [("application/json", json.dumps(CHAT).encode()), ("text/event-stream", CHUNK)]
)
def test_openais_language_on_anthropics_path_is_named(kind: str, content: bytes) -> None:
    with server(lambda *_: (200, {"Content-Type": kind}, content)) as peer:
        assert [each.id for each in answering.token(peer, None)] == ["engine.other-language"]


def test_an_error_that_comes_with_status_200_is_in_the_servers_words() -> None:
    with server(
        lambda *_: (200, {"Content-Type": "application/json"}, b'{"error": {"message": "not loaded"}}')
    ) as peer:
        (found,) = answering.token(peer, None)
    assert found.id == "engine.error"
    assert "not loaded" in found.cause


@pytest.mark.parametrize(("most", "said"), [(sizes.LONG * 2, []), (1 << 20, [Status.WARN]), (100_000, [Status.FAIL])])
def test_a_limit_of_size_is_found(most: int, said: list[Status]) -> None:
    with server(lambda _, length: (413 if length > most else 400, {}, b"")) as peer:
        assert [each.status for each in sizes.large(peer, None)] == said


def test_https_at_a_server_of_plain_http_is_said_to_be_so() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"https://127.0.0.1:{server.server_address[1]}"
        asked = Peer(Endpoint("gateway", "it", url, "m"), time.monotonic() + 30)
        found = list(answering.health(asked))
        server.shutdown()
        thread.join()
    assert [each.id for each in found] == ["gateway.plain"]
    assert f"its address begins with https: {url}" in found[0].cause
