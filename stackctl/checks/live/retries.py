"""One request of a client is one call of the engine, also when it fails: repeats hide the real error for minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.checks.answers import finding
from stackctl.checks.live import answering, metrics
from stackctl.checks.live.streams import ASKED
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.model import Finding

SHORT = 0.05  # seconds that LiteLLM is told to wait for the engine, so that it must give up


def one_call(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A request that the gateway gives up (its own header sets a short timeout) was put to the engine once."""
    if engine is None:
        return
    before = metrics.read(engine)
    if before is None or metrics.REQUESTS not in before:
        return
    reply = peer.ask(ASKED, max_tokens=256, stream=False, headers={"x-litellm-timeout": str(SHORT)})
    after = metrics.read(engine)
    if after is None or reply.status == 200:
        return
    calls = after.get(metrics.REQUESTS, 0.0) - before[metrics.REQUESTS]
    if calls > 1:
        said = f"one request that timed out ({reply.shown()}) was {calls:.0f} calls of the engine"
        yield finding("gateway.retries", Status.WARN, (said,), calls=f"{calls:.0f}", **answering.words(peer))
    elif answering.cooling(reply):
        yield answering.cooldown(peer, reply)
