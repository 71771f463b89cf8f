"""A line for each request that the gateway was asked: when, what for, how it ended, and the engine's error in short.

So that `stackctl doctor` sees a client that asks the same again and again in silence. LiteLLM runs this: it is copied
beside the rendered configuration as `stackctl_requests.py`, and stackctl_auth.py puts it in front of the application.
It imports nothing of stackctl but the redaction, which lies beside it too.

Never what was asked: a request is known by a hash of it. The file has two halves (requests.jsonl and .old), each of a
capped size. What cannot be written is lost, and nobody waits for it: a full disk stops no request.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from stackctl_redact import cleaner, secrets_in  # type: ignore[import-not-found]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]

HALF = 256 * 1024  # bytes of each half of the file: some thousand requests
_ERROR = 400  # characters kept of an error
_LOOKED_AT = 16 * 1024  # bytes of an answer's beginning in which an error is looked for
_TAIL = 512  # bytes of a stream's end in which its last event stands
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

# An error in the middle of a stream. In what a model wrote the quotes and line ends are escaped: it cannot match.
_IN_STREAM = re.compile(rb"^(?:event: error|data: \{\"error\")", re.MULTILINE)
_LAST = re.compile(rb"message_stop|\[DONE\]|response\.(?:completed|incomplete|failed)")
_SAYS = re.compile(r'"(?:message|error|detail)"\s*:\s*"((?:[^"\\]|\\.){1,4000})')
# What a validation error quotes of the request; one word, such as the kind of a block, may stay.
_QUOTED = re.compile(r"(\binput(?:_value)?\\?['\"]?[:=])(?! ?\\?['\"]\w{1,24}\\?['\"])[\s\S]*")


class Log:
    """The file. Each line is written at once and whole; nothing here raises."""

    def __init__(self, path: str, half: int = HALF) -> None:
        self._path = path
        self._half = half
        self._handle: int | None = None
        self._size = 0

    def write(self, entry: dict[str, Any]) -> None:
        """Append one line."""
        line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
        try:
            handle = self._open(len(line))
            if os.write(handle, line) < len(line):  # the disk is full: the next line begins on a line of its own
                os.write(handle, b"\n")
            self._size += len(line)
        except OSError:
            self._close()

    def _open(self, more: int) -> int:
        if self._handle is not None and self._size + more > self._half:
            self._close()
            os.replace(self._path, f"{self._path}.old")
        if self._handle is None:
            self._handle = os.open(self._path, _FLAGS, 0o600)
            self._size = os.fstat(self._handle).st_size
        return self._handle

    def _close(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.close(self._handle)
        self._handle = None


class Recorder:
    """In front of the application: notes each POST when it has ended. Nothing is held back or changed."""

    def __init__(self, app: _App, log: Log | None = None) -> None:
        self.app = app
        self._log = log or Log(os.environ.get("STACKCTL_REQUESTS", ""))
        self._clean = cleaner(secrets_in(os.environ))

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:  # noqa: D102
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        seen = _Seen(receive, send)
        try:
            await self.app(scope, seen.receive, seen.send)
        finally:
            with contextlib.suppress(Exception):  # what is wrong here must not be the request's fault
                self._log.write(self._entry(scope, seen))

    def _entry(self, scope: _Message, seen: "_Seen") -> dict[str, Any]:
        agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
        entry = {
            "at": round(seen.at, 3),
            "seconds": round(time.monotonic() - seen.began, 3),
            "path": scope["path"][:80],
            "status": seen.status,
            "end": seen.end,
            "request": seen.fingerprint.hexdigest(),
            "bytes": seen.size,
            "agent": agent[:80].decode("latin-1"),
        }
        if seen.error:
            entry["error"] = self._clean(_short(bytes(seen.error).decode(errors="replace")))[:_ERROR]
        return entry


class _Seen:
    """One exchange as it passes by."""

    def __init__(self, receive: _Receive, send: _Send) -> None:
        self._receive = receive
        self._send = send
        self.at = time.time()
        self.began = time.monotonic()
        self.fingerprint = hashlib.blake2b(digest_size=8)
        self.size = 0
        self.status = 0
        self.end = "cut"  # until it is seen to be otherwise
        self.error = bytearray()
        self._open = True  # the answer may go on
        self._streams = False
        self._tail = b""

    async def receive(self) -> _Message:
        message = await self._receive()
        if message["type"] == "http.request":
            body = message.get("body", b"")
            self.fingerprint.update(body)
            self.size += len(body)
        elif message["type"] == "http.disconnect" and self._open:
            self.end = "left"
        return message

    async def send(self, message: _Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            kind = next((value for name, value in message.get("headers", ()) if name.lower() == b"content-type"), b"")
            self._streams = kind.startswith(b"text/event-stream")
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            if self.status >= 400:
                self.error += body[: _LOOKED_AT - len(self.error)]
            elif not self.error and (found := _IN_STREAM.search(body)):
                self.error += body[found.start() : found.start() + _LOOKED_AT]
            if self._streams:
                self._tail = (self._tail + body)[-_TAIL:]
            if not message.get("more_body"):
                self._open = False
                if not self._streams or _LAST.search(self._tail):
                    self.end = "whole"  # else LiteLLM closed a stream in good order that the engine had cut
        await self._send(message)


def _short(answer: str) -> str:
    """What an error's body says, on one line, without what it quotes of the request."""
    said = _SAYS.search(answer)
    text = said[1] if said else answer
    with contextlib.suppress(ValueError):
        text = json.loads(f'"{text}"') if said else text
    return " ".join(_QUOTED.sub(r"\1 ...", text).split())
