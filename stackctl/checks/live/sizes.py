"""How large a request may be before something in front of the server refuses it, whatever its window is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.checks.answers import finding
from stackctl.checks.live import messages
from stackctl.checks.live.asking import WRONG_MODEL
from stackctl.checks.live.peer import OURS
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.model import Finding

FIRST = 150_000  # bytes; Claude Code's first request with its tools, and some more
LONG = 1_200_000  # bytes; a conversation of 200,000 tokens, or one screenshot (nginx takes 1 MiB where nothing is said)
_TOO_LARGE = 413
_SECONDS = 4.0


def large(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A request as large as a long conversation is let through."""
    del engine
    if not _refused(peer, LONG):
        return
    first = _refused(peer, FIRST)
    size = FIRST if first else LONG
    yield finding(
        f"{peer.where}.body-limit",
        Status.FAIL if first else Status.WARN,
        (f"POST {messages.PATH} with {size:,} bytes: status {_TOO_LARGE}",),
        size=f"{size / 1e6:g}",
        **peer.words(),
    )


def _refused(peer: Peer, size: int) -> bool:
    """Whether `size` bytes are too many. No model ever sees them: the question is nonsense, and for one that nobody serves."""
    padding = {"user_id": "x" * size}
    question = {"model": WRONG_MODEL, "max_tokens": 1, "messages": 0, "metadata": padding}
    return peer.post(messages.PATH + OURS, question, most=_SECONDS).status == _TOO_LARGE
