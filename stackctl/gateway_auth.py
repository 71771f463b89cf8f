"""Who may ask the gateway what, and how long an answer may be. LiteLLM runs this: it is copied beside the rendered
configuration as `stackctl_auth.py` and named there as `custom_auth: stackctl_auth.user_api_key_auth` and
`callbacks: stackctl_auth.limits`.

So it imports nothing of stackctl: the standard library, LiteLLM, FastAPI and Starlette's calling convention only.

LiteLLM calls `custom_auth` only from routes that ask for a key, and after it has read the body. Many do not ask
(`/mcp`, `/ui`, `/fallback/login`, `/public/*`: read in 1.106.2), and others let any key read the settings. Therefore
the same decision also stands in front of the whole application, as `Gate`: whatever LiteLLM adds in a later
version, only the routes below exist here.
"""

import hmac
import json
import os
import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth
from stackctl_engines import (  # type: ignore[import-not-found]
    ENGINES,
    Body,
    Explained,
    Message,
    Receive,
    Refusal,
    Send,
    absence_of,
    answer,
    client,
    count,
    some_are_away,
)
from stackctl_requests import Recorder  # type: ignore[import-not-found]

_App = Callable[[Message, Receive, Send], Awaitable[None]]

_RENEW = 'run: eval "$(stackctl env)"'

# What needs no key: a client's look whether someone is there, and health for process managers. No secret in either.
_OPEN = re.compile(r"(?:GET|HEAD) /(?:health/(?:liveliness|liveness|readiness))?")

# What the client key may do. Chat, messages and the models' names; no keys, no settings, no other providers' paths.
_OFFERED = re.compile(
    r"POST (?:/v1)?/(?:messages(?:/count_tokens)?|chat/completions|completions|responses|embeddings)"
    r"|GET (?:/v1)?/models(?:/[\w:@+-][\w.:@+-]*)*"
    r"|GET /stackctl/client"
)


def _client_key() -> bytes:
    key = os.environ.get("STACKCTL_CLIENT_KEY", "").encode()
    if not key:  # a gateway that lets everybody in is worse than none
        raise RuntimeError("STACKCTL_CLIENT_KEY is not set: stackctl's gateway does not start without a client key")
    return key


_KEY = _client_key()


def check(method: str, path: str, authorization: bytes, x_api_key: bytes) -> None:
    """Raise Refusal unless this request may pass; the two last arguments are the headers' raw values.

    A wrong key is a 403, not a 401: Claude Code repeats a 401 for more than 75 seconds and shows nothing.
    """
    request = f"{method} {path}"
    if _OPEN.fullmatch(request):
        return
    scheme, _, token = authorization.strip().partition(b" ")
    bearer = token.strip() if scheme.lower() == b"bearer" else b""
    offered = {"ANTHROPIC_AUTH_TOKEN (or OPENAI_API_KEY)": bearer, "ANTHROPIC_API_KEY (x-api-key)": x_api_key.strip()}
    if not any(offered.values()):
        raise Refusal(401, "authentication_error", f"stackctl's gateway needs this stack's client key; {_RENEW}")
    # every comparison is made, each in constant time
    if not any([hmac.compare_digest(key, _KEY) for key in offered.values()]):  # noqa: C419
        wrong = " and ".join(name for name, key in offered.items() if key)
        raise Refusal(403, "permission_error", f"the key in {wrong} is not this stack's client key; {_RENEW}")
    if not _OFFERED.fullmatch(request):
        shown = f"{method} {path[:200]!a}"
        raise Refusal(403, "permission_error", f"{shown} is not offered by stackctl's gateway")


async def user_api_key_auth(request: Request, api_key: str | None = None) -> UserAPIKeyAuth:  # noqa: ARG001
    """LiteLLM's hook: the identity of a request that may pass. Not an administrator, so that LiteLLM's own checks
    refuse what the gate might have missed.

    `api_key` is not used: LiteLLM hands over None when a header is missing, and prefers headers of its own.
    """
    headers = request.headers
    try:
        check(
            request.method,
            request.scope["path"],
            headers.get("authorization", "").encode("latin-1"),
            headers.get("x-api-key", "").encode("latin-1"),
        )
    except Refusal as refusal:
        raise ProxyException(
            message=refusal.message, type=refusal.kind, param="api_key", code=refusal.status
        ) from refusal
    return UserAPIKeyAuth(api_key="stackctl-client", user_role=LitellmUserRoles.INTERNAL_USER)


class Gate:
    """The decision in front of every route of LiteLLM's application.

    Plain ASGI: nothing is buffered, but a request whose tokens are counted, or that comes while an engine is away.
    """

    def __init__(self, app: _App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":  # before `accept` this is answered as a 403
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = dict(scope["headers"])
        try:
            check(scope["method"], scope["path"], headers.get(b"authorization", b""), headers.get(b"x-api-key", b""))
        except Refusal as refusal:
            await answer(send, refusal.status, refusal.body())
            return
        if scope["path"] == "/":  # LiteLLM would send a browser to its admin pages
            body = b'{"service": "stackctl gateway"}'
            await answer(send, 200, b"" if scope["method"] == "HEAD" else body)
            return
        if scope["path"] == "/stackctl/client":
            await answer(send, 200, json.dumps(client()).encode())
            return
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        asked = Body(receive)
        counts = scope["path"].endswith("/count_tokens")
        if counts or some_are_away():
            await asked.read_ahead()
            if (absence := absence_of(b"", asked.model)) is not None:
                await answer(send, *absence)  # LiteLLM would guess a count_tokens, and try a connection for the rest
                return
            if counts and (engine := ENGINES.get(asked.model, {})).get("count"):
                await count(send, engine, asked)
                return
        await self.app(scope, asked, Explained(send, asked))


# How each protocol names the length of an answer; the last is used where the client asks for none. LiteLLM itself
# (modify_params) lowers `max_tokens` only; vLLM answers the others with a 400 when they exceed its window (1.106.2).
_LENGTHS = {
    "completion": ("max_completion_tokens", "max_tokens"),
    "acompletion": ("max_completion_tokens", "max_tokens"),
    "responses": ("max_output_tokens",),
    "aresponses": ("max_output_tokens",),
    "text_completion": ("max_tokens",),
    "atext_completion": ("max_tokens",),
    "anthropic_messages": ("max_tokens",),
}


class Limits(CustomLogger):  # type: ignore[misc]
    """Lowers what a client asks for to the model's `max_output_tokens`, whatever the protocol calls it.

    Where a client leaves the length open it gets that much too: an engine would go on to the end of its window.
    """

    async def async_pre_call_hook(
        self,
        user_api_key_dict: UserAPIKeyAuth,  # noqa: ARG002 - LiteLLM's signature
        cache: Any,  # noqa: ARG002
        data: dict[str, Any],
        call_type: str,
    ) -> dict[str, Any]:
        """LiteLLM's hook before each request; `data` is the request's body."""
        names = _LENGTHS.get(str(call_type), ())
        limit = _limit_of(data.get("model")) if names else None
        if limit is None:
            return data
        asked = [name for name in names if data.get(name) is not None]
        for name in asked:
            if isinstance(data[name], int):
                data[name] = min(data[name], limit)
        if not asked and "text" not in str(call_type):  # OpenAI's completions have a default of their own: 16
            data[names[-1]] = limit
        return data


def _limit_of(model: Any) -> int | None:
    from litellm.proxy.proxy_server import llm_router

    for row in llm_router.model_list if llm_router is not None else ():
        if row.get("model_name") == model:
            limit = (row.get("model_info") or {}).get("max_output_tokens")
            return limit if isinstance(limit, int) else None
    return None


limits = Limits()


def _stand_in_front(app: Any) -> None:
    """Put the gate before `app`, once, and before that who notes what was asked. LiteLLM imports this module while it starts: by then Starlette has built its
    chain of middleware and refuses `add_middleware`; before that, `add_middleware` is the way.
    """
    if getattr(app.state, "stackctl_gate", False):
        return
    if app.middleware_stack is None:
        app.add_middleware(Gate)
        app.add_middleware(Recorder)  # the last one added stands in front
    else:
        app.middleware_stack = Recorder(Gate(app.middleware_stack))
    app.state.stackctl_gate = True


def _install() -> None:
    from litellm.proxy.proxy_server import app

    _stand_in_front(app)


_install()
