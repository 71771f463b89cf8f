"""The detached supervisor's control channel: a 0600 unix socket in the stack's 0700 directory, for one user only.

One question a connection: a line of JSON (`{"do": "restart", "service": "engine"}`), answered by one (`{"ok": true}` or
`{"error": "..."}`). Whoever asks is checked by the kernel's word for it (SO_PEERCRED), not by file modes alone.
Standard library only: this lives on beside the model.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from stackctl.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stackctl.paths import StackPaths

NAME = "control.sock"
_LONGEST = 4096  # bytes of a question
_PATIENCE = 1.0  # seconds that a connected peer gets to say its line; the loop waits that long
_ANSWER = 20.0  # seconds that a supervisor gets to answer


def path(paths: StackPaths) -> str:
    """Where the socket is."""
    return os.path.join(paths.root, NAME)


@contextlib.contextmanager
def _short(paths: StackPaths) -> Iterator[str]:
    """A path to the socket that fits into the 107 bytes of unix(7), however deep the stack's directory is."""
    if not os.path.isdir("/proc/self/fd"):
        yield path(paths)
        return
    directory = os.open(paths.root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{NAME}"
    finally:
        os.close(directory)


def listen(paths: StackPaths) -> socket.socket | None:
    """Open the channel; None where it cannot be (a file system without sockets): the stack runs without it.

    The caller holds the stack's lock, so that an old socket is nobody's.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path(paths))
        with _short(paths) as short:
            server.bind(short)
        server.listen(8)
        server.setblocking(False)
    except OSError:
        server.close()
        return None
    finally:
        os.umask(before)
    return server


def _peer(connection: socket.socket) -> int | None:
    """The uid on the other side; None when the kernel does not say."""
    if hasattr(socket, "SO_PEERCRED"):
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[1])
    return None if os.path.isdir("/proc/self") else os.geteuid()  # macOS: the modes have to do


def serve(server: socket.socket, carry_out: Callable[[dict[str, Any]], None]) -> None:
    """Answer those who are waiting. `carry_out` does what was asked, or raises StackError with the reason why not."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # nobody left
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_PATIENCE)
            answer = _answered(connection, carry_out)
            connection.sendall(json.dumps(answer).encode() + b"\n")


def _answered(connection: socket.socket, carry_out: Callable[[dict[str, Any]], None]) -> dict[str, str]:
    line = _line(connection)  # read in any case: closing a socket with unread bytes throws our answer away
    if _peer(connection) != os.geteuid():
        return {"error": "this stack belongs to another user"}
    try:
        asked = json.loads(line)
        carry_out({str(name): value for name, value in asked.items()})
    except StackError as error:
        return {"error": error.message}
    except (ValueError, AttributeError, RecursionError):
        return {"error": "not a question"}
    return {"ok": ""}


def ask(paths: StackPaths, **question: str) -> None:
    """Ask the supervisor to do something. Raises StackError when it does not listen, or says why not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER)
        try:
            with _short(paths) as short:
                connection.connect(short)
            if _peer(connection) not in {os.geteuid(), 0}:
                raise StackError(f"another user listens at {path(paths)}", remedy="stackctl down")
            connection.sendall(json.dumps(question).encode() + b"\n")
            answer = json.loads(_line(connection))
        except (OSError, ValueError) as error:
            raise StackError(
                f"the supervisor of the stack `{paths.name}` does not answer on its control socket",
                remedy="stackctl restart",
            ) from error
    if "error" in answer:
        raise StackError(str(answer["error"]), remedy="stackctl status")


def _line(connection: socket.socket) -> bytes:
    raw = b""
    while not raw.endswith(b"\n") and len(raw) < _LONGEST and (part := connection.recv(_LONGEST)):
        raw += part
    return raw
