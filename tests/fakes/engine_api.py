"""The scripted engine's HTTP server: vLLM's endpoints, its refusals and its streams."""

from __future__ import annotations

import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.fakes import competent, ill, startup_log, wire
from tests.fakes.engine_refusals import Refused, limit, readable
from tests.fakes.engine_state import BLOCK
from tests.fakes.script import Json, Request, tokens

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from tests.fakes.engine_state import Engine

_WORK = (
    0.3  # seconds that a request keeps its place: no real engine answers at once, and on a busy machine none would meet
)


class Cut(Exception):  # noqa: N818 - a wish of the script
    """The script wants the connection to break here."""


_WHOLE = {
    "/v1/messages": wire.anthropic_whole,
    "/v1/chat/completions": wire.chat_whole,
    "/v1/completions": wire.completion_whole,
    "/v1/responses": wire.responses_whole,
}
_STREAM = {
    "/v1/messages": wire.anthropic_stream,
    "/v1/chat/completions": wire.chat_stream,
    "/v1/responses": wire.responses_stream,
}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    engine: Engine

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        print(f"INFO:     127.0.0.1:{self.client_address[1]} - {format % args}", flush=True)

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def send_response(self, code: int, message: str | None = None) -> None:
        self.engine.answered(self.path.partition("?")[0], self.command, code)
        super().send_response(code, message)

    def _guarded(self, act: Any) -> None:
        engine = self.engine
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        path = self.path.partition("?")[0]
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        if path == "/fake/faults" and engine.flags.has("fake-control"):
            engine.flags.set_faults(body["faults"])
            self._json(200, {"faults": body["faults"]})
            return
        authorized = self._authorized()
        shown = {
            name.lower(): "<redacted>" if name.lower() in {"authorization", "x-api-key"} else value
            for name, value in self.headers.items()
        }
        if self.headers.get("user-agent") != "stackctl":  # the supervisor's own questions are no client's
            engine.record(
                {"method": self.command, "path": path, "headers": shown, "authorized": authorized, "body": body}
            )
        time.sleep(max(0.0, engine.answers_from - time.monotonic()))
        if self._elsewhere():
            return
        if path.startswith("/v1") and not authorized:
            self._json(401, {"error": "Unauthorized"})
            return
        try:
            act(path, body)
        except Refused as refused:
            error = {"type": refused.kind, "message": refused.message}
            answer: Json = {"type": "error", "error": error}
            if not path.startswith("/v1/messages"):
                answer = {"error": {**error, "param": None, "code": refused.status}}
            self._json(refused.status, answer)
        except (Cut, BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except (TypeError, AttributeError, KeyError, ValueError) as error:  # what pydantic refuses in the real one
            self._json(
                400, {"error": {"message": f"1 validation errors: {error!r}", "type": "Bad Request", "code": 400}}
            )

    def _authorized(self) -> bool:
        flags = self.engine.flags
        key = os.environ.get("VLLM_API_KEY") or flags.get("api-key", "")
        sent = self.headers.get("authorization", "")
        asked = flags.faults.get("key")
        return asked != "reject" and (
            asked == "open" or not key or hmac.compare_digest(sent.encode(), f"Bearer {key}".encode())
        )

    def _elsewhere(self) -> bool:
        """Whether this is no engine at all, and has answered."""
        faults = self.engine.flags.faults
        if "page" in faults:
            self._send(200, ill.PAGE, "text/html")
        elif "redirect" in faults:
            self.send_response(308)
            self.send_header("location", "https://login.example.invalid/")
            self.send_header("content-length", "0")
            self.end_headers()
        return bool(faults.keys() & {"page", "redirect"})

    def _get(self, path: str, _: Json) -> None:
        engine, flags = self.engine, self.engine.flags
        if path == "/health":
            self._send(503 if engine.dead else int(flags.faults.get("health", 200)), b"", "text/plain")
        elif path == "/version":
            self._json(200, {"version": flags.faults.get("version", "0.32.0")})
        elif path == "/metrics" and "metrics" in flags.faults:
            self._json(404, {"detail": "Not Found"})
        elif path == "/ping":
            self._send(200, b"", "text/plain")
        elif path == "/load":
            self._json(200, {"server_load": engine.counters["running"]})
        elif path == "/metrics":
            self._send(200, engine.metrics().encode(), "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/v1/models":
            card = {"object": "model", "created": int(time.time()), "owned_by": "vllm", "root": flags.model}
            rows = [{"id": each, **card, "parent": None, "max_model_len": flags.window} for each in flags.names]
            self._json(200, {"object": "list", "data": rows})
        else:
            self._json(404, {"detail": "Not Found"})

    def _post(self, path: str, body: Json) -> None:
        if path == "/tokenize":
            text = body["prompt"] if "prompt" in body else Request(path, body).prompt
            ids = [hash(each) % 49152 for each in tokens(text)]
            self._json(200, {"count": len(ids), "max_model_len": self.engine.flags.window, "tokens": ids})
        elif path.startswith("/v1/messages") and "no-messages" in self.engine.flags.faults:
            self._json(404, {"detail": "Not Found"})
        elif path == "/v1/messages/count_tokens":
            if self.engine.flags.faults.get("count") == "404":
                self._json(404, {"detail": "Not Found"})
                return
            request = readable(path, body, self.engine.flags)
            if "vision" not in self.engine.flags.faults and competent.has_image(request):
                raise Refused(400, "BadRequestError", f"{body.get('model')} is not a multimodal model")
            count = len(request.tokens)
            if self.engine.flags.faults.get("count") == "guess":
                count //= 3
            self._json(200, {"input_tokens": count, "context_management": {"original_input_tokens": count}})
        elif path in _WHOLE:
            self._generate(path, body)
        else:
            self._json(404, {"detail": "Not Found"})

    def _ill(self, request: Request, others: int) -> None:
        """What keeps the engine from answering: raises how it is refused; does not return while the engine is mute."""
        engine, faults = self.engine, self.engine.flags.faults
        refused = ill.refusal(request, faults, others)
        if refused is None and engine.dead:
            words = "EngineCore encountered an issue. See stack trace (above) for the root cause."
            refused = (500, "InternalServerError", words)
        if refused is None and "refuse" in faults:
            refused = (500, "InternalServerError", "the scripted engine was told to refuse")
        if refused is not None:
            if refused[2] == ill.NO_TEMPLATE:
                startup_log.say("", 0, "", "", f"ValueError: {refused[2]}")
            raise Refused(*refused)
        while "mute" in engine.flags.faults:
            time.sleep(0.1)

    def _generate(self, path: str, body: Json) -> None:
        others = self.engine.enter()
        try:
            self._answer(path, body, others)
        finally:
            self.engine.leave()

    def _answer(self, path: str, body: Json, others: int) -> None:
        """Answer a request that came while `others` were being answered."""
        engine, flags = self.engine, self.engine.flags
        request = readable(path, body, flags)
        most = limit(request, flags)
        self._ill(request, others)
        turn = engine.turn_for(request)
        blocks, output, cut = wire.shorten(
            ill.reply(
                turn["reply"],
                request,
                ill.unread(flags.faults, reasoner=flags.has("reasoning-parser")),
                flags.get("tool-call-parser", ""),
            ),
            most,
        )
        time.sleep(float(flags.faults.get("slow", 0)))
        if "too-many" in flags.faults:
            time.sleep(_WORK)
        for block in blocks:
            if "status" in block:
                kind = block.get("type", "InternalServerError")
                raise Refused(block["status"], kind, block.get("error", "scripted"))
        hit = engine.cached(request.tokens)
        usage = wire.Usage(len(request.tokens), output)
        if flags.has("enable-prompt-tokens-details"):
            usage.cached, usage.created = hit, len(request.tokens) // BLOCK * BLOCK - hit
        usage = ill.usage(usage, flags.faults)
        model = body["model"]
        engine.count(running=1)
        made = 0

        def step() -> None:
            nonlocal made
            engine.step()
            engine.count(generated=int(made < output), prompt=len(request.tokens) if made == 0 else 0)
            made += 1

        if "serial" in flags.faults:
            engine.turn.acquire()
        try:
            if body.get("stream") and path in _STREAM and "plain" not in flags.faults:
                events = ill.events(_STREAM[path](model, blocks, usage, cut), flags.faults)
                self._stream(events, turn.get("pace", 0.0), step)
            else:
                for block in blocks:
                    self._pause(block)
                for _ in range(min(output, 8)):
                    step()
                time.sleep(min(1.0, turn.get("pace", 0.0) * output))  # no reader that leaves is noticed meanwhile
                self._json(200, _WHOLE[path](model, blocks, usage, cut))
            engine.count(generated=max(0, output - made), prompt=0 if made else len(request.tokens), success=1)
        except (BrokenPipeError, ConnectionResetError):
            while "deaf" in flags.faults:
                time.sleep(0.1)
            raise
        finally:
            if "serial" in flags.faults:
                engine.turn.release()
            engine.count(running=-1)

    def _pause(self, block: Json) -> None:
        if "silence" in block:
            time.sleep(block["silence"])
        if block.get("cut"):
            raise Cut

    def _stream(self, events: Iterator[bytes | Json], pace: float, step: Callable[[], None]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            if isinstance(event, dict):
                self._pause(event)
                continue
            step()
            self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            time.sleep(pace)
        self.wfile.write(b"0\r\n\r\n")

    def _json(self, status: int, body: Json) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Takes the socket that was bound before the model was loaded."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, bound: socket.socket, engine: Engine) -> None:
        handler = type("BoundHandler", (Handler,), {"engine": engine})
        super().__init__(bound.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        bound.listen(self.request_queue_size)
