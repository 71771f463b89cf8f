"""One request of a client is one call of the engine, also when it fails: repeats hide the real error for minutes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from stackctl.checks.answers import finding
from stackctl.checks.live import metrics
from stackctl.checks.live.streams import ASKED
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.model import Finding

SHORT = 0.5  # seconds that LiteLLM is told to wait for the engine, so that it must give up
_PATIENCE = 3.0  # seconds within which the second call of one that is put again has begun
_LAG = 1.2  # seconds until an engine has counted a request that was given up


def one_call(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A request that the gateway gives up (its own header sets a short timeout) was put to the engine once."""
    if engine is None:
        return
    said = _repeated(peer, engine) and _repeated(peer, engine)  # twice: others ask the engine as well
    if said:
        yield finding("gateway.retries", Status.WARN, (said,), **peer.words())


def _repeated(peer: Peer, engine: Peer) -> str:
    """Say how one request became several; empty when it did not, or nothing can be said."""
    before = metrics.read(engine)
    if before is None or metrics.REQUESTS not in before:
        return ""
    once = {"x-litellm-timeout": str(SHORT)}
    reply = peer.ask(
        ASKED, most=_PATIENCE, max_tokens=256, stream=False, headers=once, patient=False
    )  # silence is an answer
    if reply.status == 200 or reply.elapsed < 2 * SHORT:  # an engine that is quick, or a single try
        return ""
    counted = time.monotonic()
    calls = 0.0
    while calls < 2 and time.monotonic() - counted < _LAG:
        time.sleep(0.2)
        calls = (metrics.read(engine) or before).get(metrics.REQUESTS, 0.0) - before[metrics.REQUESTS]
    return f"one request that timed out ({reply.shown()}) was {calls:.0f} calls of the engine" if calls > 1 else ""
