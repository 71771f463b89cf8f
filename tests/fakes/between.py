"""A reverse proxy as people put one before a server, with what such proxies do wrong.

buffer  the whole answer is read before any of it is handed on;  idle: a connection that is silent for so many seconds is cut
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}
_LONG = 600.0


@contextlib.contextmanager
def proxy(behind: str, *, buffer: bool = False, idle: float = _LONG, host: str = "127.0.0.1") -> Iterator[str]:
    """The address of a proxy before the server at `behind`; it listens at `host` alone."""
    place = urllib.parse.urlsplit(behind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

        def _relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
            there = http.client.HTTPConnection(str(place.hostname), place.port, timeout=idle)
            self.close_connection = True
            try:
                there.request(self.command, self.path, body or None, headers)
                answer = there.getresponse()
                whole = answer.read() if buffer else b""
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _OWN:
                        self.send_header(name, value)
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(whole)
                while piece := answer.read1(65536):
                    self.wfile.write(piece)
            except (OSError, http.client.HTTPException):  # silent for too long, or either side has gone
                pass
            finally:
                there.close()

        do_GET = do_POST = do_HEAD = _relay  # noqa: N815 - the base class's names

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with Server((host, 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


def astray(url: str) -> str:
    """The same port of 127.0.0.1, where people look for a server that listens elsewhere."""
    return f"http://127.0.0.1:{urllib.parse.urlsplit(url).port}"
