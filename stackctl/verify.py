"""The proof of "ready": one real token through the gateway, from our own processes. Light: the supervisor loads it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stackctl import probe
from stackctl.errors import StackError
from stackctl.model import Probe

if TYPE_CHECKING:
    from stackctl.model import ClientFacts

TOKEN_SECONDS = 300.0  # a first token on a slow CPU, kernels still cold


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask: the gateway as a client sees it, and the engine behind it with its own key (None: it has none)."""

    client: ClientFacts
    engine_url: str
    client_key: str = field(repr=False)
    engine_key: str | None = field(repr=False)


def verify(target: Target) -> ClientFacts:
    """Ask for one token as Claude Code would; return the client's facts with the engine's true window.

    Raises StackError with the gateway's own words when no token comes.
    """
    client = target.client
    body = {"model": client.model, "max_tokens": 1, "messages": [{"role": "user", "content": "Say hi."}]}
    headers = {"Authorization": f"Bearer {target.client_key}", "anthropic-version": "2023-06-01"}
    answer = probe.request(Probe(f"{client.url}/v1/messages", "POST", headers, body, TOKEN_SECONDS))
    if not answer.ok or _tokens(answer.body) < 1:
        raise StackError(
            f"the gateway is up, but no token comes through it: {_said(answer.error, answer.body)}",
            remedy="stackctl logs",
        )
    window = _window(target) or client.window
    # the plan could not know a window that the engine chose by itself
    return replace(
        client,
        window=window,
        output_limit=min(client.output_limit, max(1, window // 4)) if window else client.output_limit,
    )


def _said(error: str, body: bytes) -> str:
    """The server's own words on one line, out of whichever envelopes they come in."""
    try:
        said = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = error or body.decode(errors="replace") or "an empty answer"
    with contextlib.suppress(
        ValueError, KeyError, TypeError
    ):  # `litellm.X: AnthropicException - {the engine's own}. ...`
        said = str(json.JSONDecoder().raw_decode(said[said.index("{") :])[0]["error"]["message"])
    return " ".join(said.split())[:300]


def _tokens(body: bytes) -> int:
    try:
        return int(json.loads(body)["usage"]["output_tokens"])
    except (ValueError, KeyError, TypeError):
        return 0


def _window(target: Target) -> int | None:
    """The engine's own `max_model_len` in tokens; None when it does not say."""
    headers = {"Authorization": f"Bearer {target.engine_key}"} if target.engine_key else {}
    answer = probe.request(Probe(f"{target.engine_url}/v1/models", headers=headers, timeout=10.0))
    try:
        rows = json.loads(answer.body)["data"]
        window = next((row for row in rows if row["id"] == target.client.served), rows[0])["max_model_len"]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return window if isinstance(window, int) else None
