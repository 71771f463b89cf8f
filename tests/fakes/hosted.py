"""A provider's API on loopback, as far as routes need it: Anthropic's messages, whole and streamed, and count_tokens.

It wants its own key as `x-api-key`, and notes what it was sent.
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "claude-opus-4-8"
SAYS = "I am the provider."
COUNT = 4242  # tokens, whatever is asked


@dataclass
class Provider:
    """A provider that runs; `asked` are the requests so far: path, headers in lower case, body."""

    key: str
    url: str = ""
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)


def _message(content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": content,
        "stop_reason": "end_turn" if content else None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 5 if content else 0},
    }


def _stream() -> list[dict[str, Any]]:
    return [
        {"type": "message_start", "message": _message([])},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SAYS}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]


@contextlib.contextmanager
def provider(key: str) -> Iterator[Provider]:
    """A provider on a free port of loopback that takes `key`."""
    found = Provider(key)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(raw)
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.asked.append((self.path.partition("?")[0], headers, body))
            if headers.get("x-api-key") != found.key:
                error = {"type": "authentication_error", "message": "invalid x-api-key"}
                self._answer(401, json.dumps({"type": "error", "error": error}), "application/json")
            elif self.path.partition("?")[0].endswith("/count_tokens"):
                self._answer(200, json.dumps({"input_tokens": COUNT}), "application/json")
            elif body.get("stream"):
                events = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in _stream())
                self._answer(200, events, "text/event-stream")
            else:
                self._answer(200, json.dumps(_message([{"type": "text", "text": SAYS}])), "application/json")

        def _answer(self, status: int, text: str, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join(10)
