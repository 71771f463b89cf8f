"""What is behind the names that clients ask the gateway for. LiteLLM runs this: it is copied beside the rendered configuration
as `stackctl_engines.py`, for `stackctl_auth.py`. So it imports nothing of stackctl.

Which engine a name means comes by $STACKCTL_ENGINES, and how that engine is by the stack's state file.
"""

import json
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


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


async def answer(send: Send, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
    """Send a whole answer, `more` headers included."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in (more or {}).items()]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Body:
    """A `receive` that knows which model the request asks for; it can read the whole body before the application does."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ahead: list[Message] = []
        self._parts: list[bytes] = []

    async def __call__(self) -> Message:  # noqa: D102
        return self._ahead.pop(0) if self._ahead else await self._next()

    async def _next(self) -> Message:
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


ENGINES = _engines()
_COUNTED = ("messages", "system", "tools")
_COUNT_SECONDS = 60.0
_clients: list[Any] = []  # one, made at the first use: making one reads all certificates


async def count(send: Send, engine: dict[str, str], body: Body) -> None:
    """Let the engine itself count the tokens of a request, in the words in which it would be sent."""
    import httpx
    from stackctl_content import content  # type: ignore[import-not-found]

    asked = body.json()
    try:
        counted = await _counted(engine, content.countable(asked))
        if counted.status_code == 400 and content.learn(asked, counted.text):  # a picture, to a model that is not known
            counted = await _counted(engine, content.countable(asked))
    except httpx.TimeoutException:
        message = f"stackctl: the engine `{engine['name']}` did not count the tokens within {_COUNT_SECONDS:g} s"
        await answer(send, 504, Refusal(504, "timeout_error", message).body())
    except httpx.HTTPError:
        absence = absence_of(b"Cannot connect to host", body.model)
        if absence is not None:
            await answer(send, *absence)
    else:
        await answer(send, counted.status_code, counted.content)


async def _counted(engine: dict[str, str], asked: dict[str, Any]) -> Any:
    import httpx

    if not _clients:
        _clients.append(httpx.AsyncClient(timeout=_COUNT_SECONDS))
    sent = {name: asked[name] for name in _COUNTED if name in asked} | {"model": engine["served"]}
    headers = {"authorization": os.environ.get(engine["bearer"], ""), "anthropic-version": "2023-06-01"}
    return await _clients[0].post(f"{engine['count']}/v1/messages/count_tokens", json=sent, headers=headers)


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


class Explained:
    """A `send` that replaces an error of LiteLLM's by the engine's absence, where that is what it comes from."""

    def __init__(self, send: Send, asked: Body) -> None:
        self._send = send
        self._asked = asked
        self._start: Message | None = None  # of an error, held back
        self._body = b""

    async def __call__(self, message: Message) -> None:  # noqa: D102
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
        absence = None if message.get("more_body") else absence_of(self._body, self._asked.model)
        if absence is not None:
            await answer(self._send, *absence)
            return
        await self._send(start)
        await self._send({**message, "body": self._body})


def absence_of(error: bytes, model: str) -> _Answered | None:
    """The answer for a request whose engine is away; None when it is there, or when no engine of ours answers to `model`.

    `error` is what LiteLLM answered; empty before it was asked. Then only a restart or a failure counts that is written
    down: while a stack starts, the request that proves it may come before the state file has caught up.
    """
    engine = ENGINES.get(model)
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


def some_are_away() -> bool:
    """Whether it is written down of any engine."""
    return any(_is_away(each) for each in _services())


def _services() -> list[dict[str, Any]]:
    """The engines that are the stack's own, as the state file has them; none when there is no file."""
    try:
        return [each for each in _state()["services"] if each["kind"] == "engine"]
    except (KeyError, TypeError):
        return []


def client() -> dict[str, Any]:
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
