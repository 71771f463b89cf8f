"""One bounded HTTP request that proves one thing.

The deadline covers connecting, headers and body together: a socket timeout alone starts anew with each byte, and a
server that drips one byte a second is then waited for without end. No proxy is ever used (both Claude Code and
LiteLLM send 127.0.0.1 through `HTTP_PROXY` unless told not to), no redirect followed.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

    from stackctl.model import Probe

MOST = 4 * 1024 * 1024  # bytes of an answer that are read


@dataclass(frozen=True, slots=True)
class Result:
    """What came back. `status` is 0 when no answer did; `error` says why in words; `elapsed` is in seconds."""

    status: int
    body: bytes
    elapsed: float
    error: str = ""
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """An answer with status 200 came in time, whole."""
        return self.status == 200 and not self.error

    def json(self) -> Any:
        """Return the body as JSON; None when it is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):  # `[` a hundred thousand times
            return None


def request(probe: Probe) -> Result:
    """Send `probe` and wait at most its `timeout` for the whole answer. Network faults are results, not exceptions."""
    began = time.monotonic()
    status, body, error, timed_out = 0, b"", "", False
    try:
        with opened(probe) as answer:
            status = answer.status
            body = _read(answer)
    except FAULTS as fault:
        error, timed_out = in_words(fault, probe, status), isinstance(fault, TimeoutError)
    if not error and status != 200:
        error = f"status {status}"
    return Result(status, body, time.monotonic() - began, error, timed_out)


class NoConnectionError(TimeoutError):
    """Nobody said yes or no in time: a firewall, an address without a machine, or a listener that takes nobody more."""


FAULTS = (OSError, http.client.HTTPException, ValueError)


@contextlib.contextmanager
def opened(probe: Probe) -> Iterator[http.client.HTTPResponse]:
    """Send `probe`; the answer once its headers are here, to be read piece by piece (`read1`) within the same deadline.

    Raises one of FAULTS, also from reading. Leaving the block hangs up, whether or not the answer has been read.
    """
    connection: _Plain | None = None
    try:
        url = urlsplit(probe.url)
        connection = _connection(url.scheme, url.hostname or "", url.port, time.monotonic() + probe.timeout)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        content, headers = _body(probe)
        connection.request(probe.method, path, content, headers)
        yield connection.getresponse()
    finally:
        if connection is not None:
            connection.hang_up()


def in_words(fault: Exception, probe: Probe, status: int) -> str:
    """Say what one of FAULTS means; `status` is 0 when it came before the answer's headers."""
    match fault:
        case NoConnectionError():
            return f"no connection within {probe.timeout:g} s"
        case TimeoutError():
            return f"no {'complete ' if status else ''}answer within {probe.timeout:g} s"
        case ConnectionRefusedError():
            return "connection refused"
        case http.client.IncompleteRead():
            return "the answer was cut off"
        case http.client.RemoteDisconnected():
            return "the connection was closed without an answer"
        case http.client.HTTPException():
            return f"not an HTTP answer ({type(fault).__name__})"
        case OSError():
            return (fault.strerror or str(fault)).lower()
        case _:
            return str(fault)  # a bad address


def _read(answer: http.client.HTTPResponse) -> bytes:
    """Read at most MOST bytes; an answer that ends before its announced length is IncompleteRead."""
    parts: list[bytes] = []
    room = MOST
    while room and (part := answer.read(min(room, 65536))):
        parts.append(part)
        room -= len(part)
    body = b"".join(parts)
    if room and answer.length:
        raise http.client.IncompleteRead(body, answer.length)
    return body


def _body(probe: Probe) -> tuple[bytes | None, dict[str, str]]:
    headers = dict(probe.headers)
    if probe.body is None:
        return None, headers
    if isinstance(probe.body, bytes):
        return probe.body, headers
    if isinstance(probe.body, str):
        return probe.body.encode(), headers
    headers.setdefault("Content-Type", "application/json")
    return json.dumps(probe.body).encode(), headers


def _connection(scheme: str, host: str, port: int | None, deadline: float) -> _Plain:
    if not host:
        raise ValueError("the address has no host")
    if scheme == "http":
        return _Plain(host, port, deadline)
    if scheme != "https":
        raise ValueError(f"cannot ask {scheme or 'no scheme'}:// addresses")
    return _tls(host, port, deadline)


class _Plain(http.client.HTTPConnection):
    """A connection of which every operation shares one deadline."""

    def __init__(self, host: str, port: int | None, deadline: float) -> None:
        super().__init__(host, port)
        self._deadline = deadline
        self._inner: socket.socket | None = None

    def connect(self) -> None:
        try:
            plain = socket.create_connection((self.host, self.port), timeout=_left(self._deadline))
        except TimeoutError as error:
            raise NoConnectionError from error
        self._inner = self._wrapped(plain)
        self.sock: Any = _Bounded(self._inner, self._deadline)

    def _wrapped(self, plain: socket.socket) -> socket.socket:
        return plain

    def hang_up(self) -> None:
        """Close the socket itself: http.client closes its own handle early, while the answer is still being read."""
        if self._inner is not None:
            with contextlib.suppress(OSError):
                self._inner.close()


def _tls(host: str, port: int | None, deadline: float) -> _Plain:
    import ssl  # 4 MB that a stack on loopback never needs

    class Tls(_Plain):
        default_port = 443

        def _wrapped(self, plain: socket.socket) -> socket.socket:
            self._inner = plain  # closed also when the handshake fails
            return ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)

    return Tls(host, port, deadline)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Bounded:
    """A socket that knows one deadline for all that is done with it; as much of one as http.client uses."""

    def __init__(self, inner: socket.socket, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._inner.settimeout(_left(self._deadline))
        self._inner.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._inner, self._deadline))

    def close(self) -> None:
        """Do nothing: `_Plain.hang_up` closes, once the answer has been read."""


class _Reader(io.RawIOBase):
    def __init__(self, inner: socket.socket, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._inner.settimeout(_left(self._deadline))
        return self._inner.recv_into(buffer)
