"""An engine's own counters (`/metrics`, Prometheus' text): what it did, as opposed to what was said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stackctl.checks.live.peer import Peer

RUNNING = "vllm:num_requests_running"
GENERATED = "vllm:generation_tokens_total"
PROMPT = "vllm:prompt_tokens_total"
HITS = "vllm:prefix_cache_hits_total"
QUERIES = "vllm:prefix_cache_queries_total"
REQUESTS = "http_requests_total"


def read(peer: Peer, most: float = 5.0) -> dict[str, float] | None:
    """The sum of each metric over its labels; None where there are none. Requests are those for answers alone."""
    answer = peer.get("/metrics", most)
    if not answer.ok:
        return None
    found: dict[str, float] = {}
    for line in answer.body.decode(errors="replace").splitlines():
        if line.startswith("#"):
            continue
        labelled, _, value = line.rpartition(" ")
        name, _, labels = labelled.partition("{")
        if name == REQUESTS and not any(path in labels for path in ('"/v1/messages"', '"/v1/chat/completions"')):
            continue
        try:
            found[name] = found.get(name, 0.0) + float(value)
        except ValueError:
            continue
    return found if any(name.startswith("vllm:") for name in found) else None


def worked(before: dict[str, float] | None, after: dict[str, float] | None) -> bool:
    """Whether the engine made or read tokens between two looks."""
    if before is None or after is None:
        return False
    return any(after.get(name, 0.0) > before.get(name, 0.0) for name in (GENERATED, PROMPT))
