"""Server-sent events as they arrive: each with the moment it came. The deadline is the connection's own (stackctl.probe)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.body import Body

MOST = 4 * 1024 * 1024  # bytes of one stream that are read


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `at` is in seconds (monotonic)."""

    name: str
    data: str
    at: float


def read(answer: Body) -> Iterator[Event]:
    """The events of a stream until it ends; comments (keep-alives) come as events without a name or data."""
    rest = b""
    room = MOST
    while room > 0 and (part := answer.read1(min(room, 65536))):
        at = time.monotonic()
        room -= len(part)
        rest = (rest + part).replace(b"\r\n", b"\n")
        *frames, rest = rest.split(b"\n\n")
        for frame in frames:
            yield _event(frame.decode(errors="replace"), at)


def _event(frame: str, at: float) -> Event:
    name, data = "", []
    for line in frame.split("\n"):
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            data.append(value.removeprefix(" "))
    return Event(name, "\n".join(data), at)
