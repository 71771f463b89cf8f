"""The proof of "ready": one real token through every route, from our own processes. Light: the supervisor loads it."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field, replace
from typing import Any

from stackctl import probe
from stackctl.errors import StackError
from stackctl.model import ClientFacts, Probe, RouteFacts

TOKEN_SECONDS = 300.0  # for the first tokens of all routes, on a slow CPU with kernels still cold

HOSTED_SECONDS = 20.0  # for a provider, which one can work without
ELSEWHERE_SECONDS = 60.0  # for an engine on another machine, likewise


@dataclass(frozen=True, slots=True)
class Behind:
    """An engine as it is reached without the gateway; `key` is None for one that asks for none.

    `elsewhere` says that it is not started here: nobody but its owner can make it run.
    """

    name: str
    url: str
    served: str
    key: str | None = field(repr=False)
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask: the gateway as a client sees it, and the engines behind it, the one that answers by default first."""

    client: ClientFacts
    client_key: str = field(repr=False)
    engines: tuple[Behind, ...]

    @classmethod
    def from_data(cls, raw: dict[str, Any]) -> Target:
        """Read back what `dataclasses.asdict` made of it."""
        client, engines = ClientFacts.from_data(raw["client"]), tuple(Behind(**each) for each in raw["engines"])
        return cls(client, raw["client_key"], engines)


def verify(target: Target) -> ClientFacts:
    """Ask for one token through every route, as Claude Code would; return the client's facts with the true windows.

    Raises StackError with the gateway's own words when no token comes from the engine that answers by default, or from one
    that was started here. A provider or an engine elsewhere that gives none is noted in the route's `problem`: one can work
    without it. Each provider is asked for one token, which may cost that much.
    """
    client = target.client
    ends = time.monotonic() + TOKEN_SECONDS
    windows = {each.name: _window(each) for each in target.engines}
    said = _no_token(target, client.model, ends)
    if said:
        raise StackError(f"the gateway is up, but no token comes through it: {said}", remedy="stackctl logs")
    routes = tuple(_verified(target, route, windows.get(route.engine), ends) for route in client.routes)
    window = windows[target.engines[0].name] or client.window
    # the plan could not know a window that the engine chose by itself
    limit = min(client.output_limit, max(1, window // 4)) if window else client.output_limit
    return replace(client, window=window, output_limit=limit, routes=routes)


def _verified(target: Target, route: RouteFacts, window: int | None, ends: float) -> RouteFacts:
    elsewhere = any(each.name == route.engine and each.elsewhere for each in target.engines)
    patience = ELSEWHERE_SECONDS if elsewhere else TOKEN_SECONDS if route.engine else HOSTED_SECONDS
    said = _no_token(target, route.model, min(ends, time.monotonic() + patience))
    if not route.engine:
        return replace(route, problem=said)
    if said and not elsewhere:
        raise StackError(
            f"no token comes through the route `{route.name}` from the engine `{route.engine}`: {said}",
            remedy=f"stackctl logs {route.engine}",
        )
    window = window or route.window
    limit = route.output_limit
    limit = min(limit, max(1, window // 4)) if window and limit else limit
    return replace(route, window=window, output_limit=limit, problem=said)


def _no_token(target: Target, model: str, ends: float) -> str:
    """Why no token comes back for `model` until `ends` (of the monotonic clock); empty when one does."""
    timeout = max(1.0, ends - time.monotonic())
    body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Say hi."}]}
    headers = {
        "Authorization": f"Bearer {target.client_key}",
        "anthropic-version": "2023-06-01",
        "User-Agent": "stackctl",
    }
    answer = probe.request(Probe(f"{target.client.url}/v1/messages", "POST", headers, body, timeout))
    return "" if answer.ok and _tokens(answer.body) > 0 else _said(answer.error, answer.body)


def _said(error: str, body: bytes) -> str:
    """The server's own words on one line, out of whichever envelopes they come in."""
    try:
        said = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = error or body.decode(errors="replace") or "an empty answer"
    # LiteLLM wraps it: `litellm.X: AnthropicException - {the engine's own}. ...`
    with contextlib.suppress(ValueError, KeyError, TypeError):
        said = str(json.JSONDecoder().raw_decode(said[said.index("{") :])[0]["error"]["message"])
    return " ".join(said.split())[:300]


def _tokens(body: bytes) -> int:
    try:
        return int(json.loads(body)["usage"]["output_tokens"])
    except (ValueError, KeyError, TypeError):
        return 0


def _window(engine: Behind) -> int | None:
    """The engine's own `max_model_len` in tokens; None when it does not say."""
    headers = {"Authorization": f"Bearer {engine.key}"} if engine.key else {}
    answer = probe.request(Probe(f"{engine.url}/v1/models", headers=headers, timeout=10.0))
    try:
        rows = json.loads(answer.body)["data"]
        window = next((row for row in rows if row["id"] == engine.served), rows[0])["max_model_len"]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return window if isinstance(window, int) else None
