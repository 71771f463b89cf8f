"""A listener that takes nobody more: a connection to it is neither made nor refused."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENOUGH = 8  # connections: more than its queue holds


@contextlib.contextmanager
def crowded(host: str = "127.0.0.1") -> Iterator[str]:
    """Its address."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server((host, 0), backlog=0))
        for _ in range(_ENOUGH):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://{host}:{listener.getsockname()[1]}"
