"""The prompt that an engine makes of a request, in its own tokens, and where the prompts of two turns part."""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from stackctl.checks.live import chat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackctl.checks.live.peer import Peer

_NEARLY = 0.9  # of the first prompt: the rest is where the answer begins
_SHOWN = 12  # tokens


def differing(engine: Peer, turns: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Where the prompts of two `turns` part, in words; nothing where the engine does not tell."""
    rendered = [_tokens(engine, turn) for turn in turns]
    one, two = rendered[0], rendered[1]
    if not one or not two:
        return ()
    same = next(at for at, pair in enumerate(zip_longest(one, [*two, None])) if pair[0] != pair[1])
    said = f"as the engine renders them, the prompts are the same for {same} of {len(one)} tokens"
    if same >= len(one) * _NEARLY:
        return (f"{said}: the difference is made before the engine, or its cache is off",)
    return (f"{said}, and then differ: {_text(engine, one, same)!r} and {_text(engine, two, same)!r}",)


def _tokens(engine: Peer, turn: dict[str, Any]) -> list[int] | None:
    """A turn in Anthropic's shape, in tokens. vLLM has `/v1/messages/render` only with --enable-scale-out, `/tokenize` always."""
    body = {"model": engine.endpoint.model, "max_tokens": 1, **turn}
    for path, sent in (("/v1/messages/render", body), ("/tokenize", _as_chat(body))):
        answer = engine.post(path, sent)
        found = _ids(answer.json()) if answer.ok else None
        if found:
            return found
    return None


def _as_chat(body: dict[str, Any]) -> dict[str, Any]:
    made = chat.body(body)
    return {name: made[name] for name in ("model", "messages", "tools") if name in made}


def _ids(data: Any) -> list[int] | None:
    """The token ids, wherever this path and version keeps them."""
    if isinstance(data, list) and data:
        data = data[0]
    names = ("token_ids", "prompt_token_ids", "tokens")
    found = [data[name] for name in names if isinstance(data.get(name), list)] if isinstance(data, dict) else []
    return next((each for each in found if all(isinstance(one, int) for one in each)), None)


def _text(engine: Peer, ids: list[int], at: int) -> str:
    answer = engine.post("/detokenize", {"model": engine.endpoint.model, "tokens": ids[at : at + _SHOWN]})
    data = answer.json() if answer.ok else None
    return str(data.get("prompt", "")) if isinstance(data, dict) else json.dumps(ids[at : at + _SHOWN])
