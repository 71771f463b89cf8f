"""What came back for one question, whichever protocol it was asked in, and how it came."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class End(StrEnum):
    """How an exchange ended."""

    WHOLE = "whole"  # with the protocol's own last word (`message_stop`, `[DONE]`), or a whole JSON answer
    CUT = "cut"  # the connection closed before that word
    ERROR = "error"  # an error status, or an error event in the stream
    TIMEOUT = "timeout"  # our deadline came first
    FAULT = "fault"  # the network: refused, reset, no such host
    LEFT = "left"  # we hung up on purpose


@dataclass(slots=True)
class Block:
    """One content block. `kind` is `text`, `thinking` or `tool_use`; a tool call's arguments are in `text`, as sent."""

    kind: str
    text: str = ""
    name: str = ""
    id: str = ""


@dataclass(slots=True)
class Reply:
    """One answer. `status` is 0 when there was none; `said` are the server's own words when it refused.

    Times are in seconds since the request was sent: `headers_at` and `first_at` (the first content), None when it never
    came; `gap` is the longest silence between two events, `arrivals` how often content came. `foreign` says that it speaks OpenAI's language where Anthropic's was asked for.
    `problems` are what breaks the protocol, in words; `raw` is an
    error's whole text, for the envelopes that `said` has lost.
    """

    status: int = 0
    end: End = End.FAULT
    said: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    stop_reason: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    streamed: bool = False  # it came as a stream of events
    foreign: bool = False
    headers_at: float | None = None
    first_at: float | None = None
    gap: float = 0.0
    arrivals: int = 0
    elapsed: float = 0.0
    body: Any = None
    id: str = ""  # the message's own
    raw: str = ""

    @property
    def whole(self) -> bool:
        """A good answer came, to its end."""
        return self.end is End.WHOLE and self.status == 200

    @property
    def refused(self) -> bool:
        """The server said no, in words or without."""
        return self.status >= 400

    @property
    def text(self) -> str:
        """All that was said to the user."""
        return "".join(each.text for each in self.blocks if each.kind == "text")

    @property
    def thinking(self) -> str:
        """All that was thought aloud."""
        return "".join(each.text for each in self.blocks if each.kind == "thinking")

    @property
    def calls(self) -> list[Block]:
        """The tool calls."""
        return [each for each in self.blocks if each.kind == "tool_use"]

    def shown(self) -> str:
        """One line of evidence. Model output is cut short; no header is shown, one may hold a key."""
        took = f"after {self.elapsed:.1f} s"
        if self.refused:
            return f"status {self.status} {took}: {self.said or 'without a word'}"
        if not self.whole:
            return f"{self.said or self.end} ({took}, {len(self.text + self.thinking)} characters had come)"
        parts = [f"{each.kind} {each.name} {each.text[:160]!r}" for each in self.blocks] or ["nothing"]
        return f"answered {took}: {'; '.join(parts)} (stop_reason {self.stop_reason or 'none'})"
