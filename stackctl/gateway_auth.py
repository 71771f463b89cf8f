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
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth
from stackctl_requests import Recorder  # type: ignore[import-not-found]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]

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


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """Why a request goes no further; `status` is the HTTP status. `message` never holds a key."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message

    def body(self) -> bytes:
        """The answer in a shape that both Anthropic's and OpenAI's clients read."""
        error = {"type": self.kind, "message": self.message, "param": None, "code": str(self.status)}
        return json.dumps({"type": "error", "error": error}).encode()


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
    """The decision in front of every route of LiteLLM's application (plain ASGI: nothing is buffered)."""

    def __init__(self, app: _App) -> None:
        self.app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:  # noqa: D102
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
            await _answer(send, refusal.status, refusal.body())
            return
        if scope["path"] == "/":  # LiteLLM would send a browser to its admin pages
            body = b'{"service": "stackctl gateway"}'
            await _answer(send, 200, b"" if scope["method"] == "HEAD" else body)
            return
        if scope["path"] == "/stackctl/client":
            await _answer(send, 200, json.dumps(_client()).encode())
            return
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        asked = _Body(receive)
        counts = scope["path"].endswith("/count_tokens")
        if counts or _some_are_away():
            await asked.read_ahead()
            if (absence := _absence(b"", asked.model)) is not None:
                await _answer(send, *absence)  # LiteLLM would guess a count_tokens, and try a connection for the rest
                return
            if counts and (engine := _ENGINES.get(asked.model, {})).get("count"):
                await _count(send, engine, asked)
                return
        await self.app(scope, asked, _Explained(send, asked))


class _Body:
    """A `receive` that knows which model the request asks for; it can read the whole body before the application does."""

    def __init__(self, receive: _Receive) -> None:
        self._receive = receive
        self._ahead: list[_Message] = []
        self._parts: list[bytes] = []

    async def __call__(self) -> _Message:
        return self._ahead.pop(0) if self._ahead else await self._next()

    async def _next(self) -> _Message:
        message = await self._receive()
        self._parts.append(message.get("body") or b"")
        return message

    async def read_ahead(self) -> None:
        """Read to the end of the body."""
        while True:
            message = await self._next()
            self._ahead.append(message)
            if message["type"] != "http.request" or not message.get("more_body"):
                return

    def json(self) -> dict[str, Any]:
        """What has been read so far; empty when that is no JSON object."""
        try:
            found = json.loads(b"".join(self._parts))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def model(self) -> str:
        """The model that is asked for."""
        return str(self.json().get("model", ""))


# --- the engines behind the names that clients ask for


def _engines() -> dict[str, dict[str, str]]:
    """By each name that an engine answers to: its `name`, its `service` among the stack's, its `url` when it runs elsewhere,
    the model as `served` there, and the variable of its Authorization header (`bearer`). With `count` (an address) it
    counts tokens itself: LiteLLM would guess, as it sends the key of such a row in another header. A provider's names are
    not among them: no engine's key goes there.
    """
    found = json.loads(os.environ.get("STACKCTL_ENGINES") or "{}")
    return found if isinstance(found, dict) else {}


_ENGINES = _engines()
_COUNTED = ("messages", "system", "tools")
_COUNT_SECONDS = 60.0
_clients: list[Any] = []  # one, made at the first use: making one reads all certificates


async def _count(send: _Send, engine: dict[str, str], body: _Body) -> None:
    """Let the engine itself count the tokens of a request."""
    import httpx

    if not _clients:
        _clients.append(httpx.AsyncClient(timeout=_COUNT_SECONDS))
    asked = body.json()
    sent = {name: asked[name] for name in _COUNTED if name in asked} | {"model": engine["served"]}
    headers = {"authorization": os.environ.get(engine["bearer"], ""), "anthropic-version": "2023-06-01"}
    try:
        answer = await _clients[0].post(f"{engine['count']}/v1/messages/count_tokens", json=sent, headers=headers)
    except httpx.TimeoutException:
        message = f"stackctl: the engine `{engine['name']}` did not count the tokens within {_COUNT_SECONDS:g} s"
        await _answer(send, 504, Refusal(504, "timeout_error", message).body())
    except httpx.HTTPError:
        absence = _absence(b"Cannot connect to host", body.model)
        if absence is not None:
            await _answer(send, *absence)
    else:
        await _answer(send, answer.status_code, answer.content)


# --- an engine that is away

# What LiteLLM 1.106.2 hands on when the engine cannot be reached, goes away meanwhile, or says that its core is dead.
_AWAY = re.compile(
    rb"Cannot connect to host|Connect(?:ion)? (?:call failed|refused|reset|aborted|error)|All connection attempts failed"
    rb"|Server disconnected|EngineCore encountered|EngineDeadError",
    re.IGNORECASE,
)
_LARGEST = 1 << 20  # bytes of an error that are held back to be looked at
_RETRY = 3  # seconds after which a client may ask again
_Answered = tuple[int, bytes, dict[str, str]]


class _Explained:
    """A `send` that replaces an error of LiteLLM's by the engine's absence, where that is what it comes from."""

    def __init__(self, send: _Send, asked: _Body) -> None:
        self._send = send
        self._asked = asked
        self._start: _Message | None = None  # of an error, held back
        self._body = b""

    async def __call__(self, message: _Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 500:
            self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body") and len(self._body) < _LARGEST:
            return
        start, self._start = self._start, None
        absence = None if message.get("more_body") else _absence(self._body, self._asked.model)
        if absence is not None:
            await _answer(self._send, *absence)
            return
        await self._send(start)
        await self._send({**message, "body": self._body})


def _absence(error: bytes, model: str) -> _Answered | None:
    """The answer for a request whose engine is away; None when it is there, or when no engine of ours answers to `model`.

    `error` is what LiteLLM answered; empty before it was asked. Then only a restart or a failure counts that is written
    down: while a stack starts, the request that proves it may come before the state file has caught up.
    """
    engine = _ENGINES.get(model)
    if engine is None:
        return None
    service = next((each for each in _services() if each.get("name") == engine["service"]), {})
    if not _is_away(service) and not _AWAY.search(error):
        return None
    name = f"the engine `{engine['name'] if engine['url'] else engine['service']}` ({engine['served']})"
    state, again = service.get("state"), {"retry-after": str(_RETRY), "x-should-retry": "true"}
    why = f": {str(service['detail'])[:300]}" if service.get("detail") else ""
    if engine["url"]:
        message, headers = f"{name} does not answer at {engine['url']}", again
    elif state == "failed":
        message = f"{name} has failed{why}; run: stackctl logs {engine['service']}"
        headers = {"x-should-retry": "false"}  # honoured by Anthropic's and OpenAI's clients: waiting changes nothing
    else:
        doing = {"starting": "is starting again", "restarting": "is restarting"}.get(str(state))
        message = (
            f"{name} {doing or 'does not answer, and is restarted if it does not recover'}{why}; ask again in a moment"
        )
        headers = again
    return 503, Refusal(503, "overloaded_error", f"stackctl: {message}").body(), headers


def _is_away(service: dict[str, Any]) -> bool:
    """Whether it is written down that an engine cannot answer."""
    state = service.get("state")
    return state in {"restarting", "failed"} or (state == "starting" and bool(service.get("restarts")))


def _some_are_away() -> bool:
    return any(_is_away(each) for each in _services())


def _services() -> list[dict[str, Any]]:
    """The engines that are the stack's own, as the state file has them; none when there is no file."""
    try:
        return [each for each in _state()["services"] if each["kind"] == "engine"]
    except (KeyError, TypeError):
        return []


def _client() -> dict[str, Any]:
    """What a client on another machine must know (`stackctl env --url`); nothing before a token has come through."""
    try:
        return {name: value for name, value in _state()["client"].items() if name != "url"}
    except (KeyError, AttributeError):
        return {}


def _state() -> dict[str, Any]:
    try:
        with open(os.environ.get("STACKCTL_STATE", ""), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


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


async def _answer(send: _Send, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in (more or {}).items()]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
