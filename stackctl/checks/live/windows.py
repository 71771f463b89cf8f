"""How long a prompt may be, as the servers of models made by hand tell it: an agent's first request has to fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackctl.checks.answers import finding
from stackctl.model import Status
from stackctl.plan.fit import FLOOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.model import Finding

# Where each tells it: the path, the list in the answer (empty: the answer itself), and the keys that lead to the number.
_TOLD: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("/v1/models", "data", ("max_model_len",)),  # vLLM, SGLang
    ("/v1/models", "data", ("meta", "n_ctx")),  # llama.cpp
    ("/props", "", ("default_generation_settings", "n_ctx")),  # llama.cpp: of one slot
    ("/api/ps", "models", ("context_length",)),  # Ollama: of what is loaded
    ("/api/v0/models", "data", ("loaded_context_length",)),  # LM Studio
    ("/info", "", ("max_total_tokens",)),  # TGI
)
_NAMES = ("id", "name", "model")


def large_enough(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """The window holds an agent's first request."""
    del engine
    found = small(peer)
    if found is not None:
        window, shown = found
        yield finding(f"{peer.where}.small-window", Status.FAIL, (shown,), window=window, least=FLOOR, **peer.words())


def small(peer: Peer) -> tuple[int, str] | None:
    """The window of a server that tells of one too small for an agent, and the line of evidence; None for any other."""
    answers: dict[str, Any] = {}
    for path, listed, keys in _TOLD:
        if path not in answers:
            answer = peer.get(path)
            answers[path] = answer.json() if answer.ok else None
        told = _number(_row(peer, answers[path], listed), keys)
        if told is not None:
            return (told, f"GET {path}: {'.'.join(keys)} {told}") if 0 < told < FLOOR else None
    return None


def _row(peer: Peer, answer: Any, listed: str) -> Any:
    """What an answer says of the model; of a list the row with its name."""
    if not listed or not isinstance(answer, dict):
        return answer
    rows = answer.get(listed)
    rows = [each for each in rows if isinstance(each, dict)] if isinstance(rows, list) else []
    return next((each for each in rows if peer.endpoint.model in [each.get(name) for name in _NAMES]), None)


def _number(value: Any, keys: tuple[str, ...]) -> int | None:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
