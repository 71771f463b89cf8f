"""The key before everything that vLLM serves: `--middleware stackctl_engine.Gate`.

vLLM asks for its key below /v1 and some other prefixes only. Without one it would run a whole inference at /invocations,
tokenize, and whatever else a version adds; every user of the machine can reach its port on loopback. What stays open
tells nothing of what was asked: whether it is well, its version, its counters. Standard library only.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    _Scope: TypeAlias = dict[str, Any]
    _Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
    _Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
    _App: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

OPEN = frozenset({"/", "/health", "/load", "/metrics", "/metrics/", "/ping", "/version"})
_BODY = b'{"error": {"message": "this engine needs its key", "type": "authentication_error", "code": 401}}'


class Gate:
    """Lets through who has the key; raises KeyError at the start of an engine that was given none."""

    def __init__(self, app: _App) -> None:
        self._app = app
        self._key = os.environ["VLLM_API_KEY"].encode()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request; a browser's OPTIONS too, so that no web page is granted anything."""
        kind = scope["type"]
        if kind not in {"http", "websocket"} or self._may(scope):
            await self._app(scope, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})

    def _may(self, scope: _Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope.get("method") in {"GET", "HEAD"} and path in OPEN:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, key = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        return bool(scheme.lower() == b"bearer" and hmac.compare_digest(key, self._key))
