"""What answers at an address that somebody named: vLLM, LiteLLM, or something else that speaks their protocols."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from stackctl import probe
from stackctl.model import Probe

_SECONDS = 4.0
_OTHER_TASK = re.compile(
    r"embed|rerank|whisper|\bbge\b|\bgte\b|\be5\b|\btts\b|dall-e|moderation|stable-diffusion", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Seen:
    """`kind` is `vllm`, `litellm`, `anthropic` or empty; `model` the first that it lists, `window` in tokens."""

    kind: str = ""
    model: str = ""
    window: int | None = None


def look(url: str, key: str | None) -> Seen:
    """Ask the server at `url` what it is; nothing is known of one that does not answer."""
    listed = _list(url, key)
    if not listed.status:
        return Seen()
    row = _first(rows(listed))
    window = row.get("max_model_len")
    name = str(row.get("id", ""))
    if isinstance(window, int) or row.get("owned_by") == "vllm":
        return Seen("vllm", name, window if isinstance(window, int) else None)
    alive = probe.request(Probe(f"{url}/health/liveliness", timeout=_SECONDS))
    if alive.ok and b"alive" in alive.body:
        return Seen("litellm", name)
    version = probe.request(Probe(f"{url}/version", timeout=_SECONDS)).json()
    if isinstance(version, dict) and "version" in version:
        return Seen("vllm", name)
    return Seen("anthropic" if row.get("type") == "model" else "", name)


def models(url: str, key: str | None) -> list[str]:
    """The names that the server at `url` lists; empty when it does not tell."""
    return [str(each.get("id")) for each in rows(_list(url, key))]


def wants_key(url: str) -> bool:
    """Whether the server at `url` answers, and nothing without a key."""
    return _list(url, None).status in {401, 403}


def _list(url: str, key: str | None) -> probe.Result:
    headers = {"Authorization": f"Bearer {key}", "x-api-key": key} if key else {}
    return probe.request(Probe(f"{url}/v1/models", headers=headers, timeout=_SECONDS))


def rows(listed: probe.Result) -> list[dict[str, Any]]:
    """The models in an answer of /v1/models; none where it is another answer."""
    found = listed.json()
    data = found.get("data") if isinstance(found, dict) else None
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []


def _first(listed: list[dict[str, Any]]) -> dict[str, Any]:
    """The first model that may write text, else the first of all."""
    return next((each for each in listed if writes(str(each.get("id")))), listed[0] if listed else {})


def writes(name: str) -> bool:
    """Whether a model writes text, as far as its name tells: not one for embeddings, ranking, speech or pictures."""
    return _OTHER_TASK.search(name) is None
