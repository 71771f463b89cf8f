"""What a gateway was asked, read back: from stackctl's own record, or from a LiteLLM's log where there is none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stackctl import logtext
from stackctl.catalog import symptoms

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST = 256 * 1024  # bytes of each half of the record (gateway_requests.py)
OURS = "stackctl"  # how the user agent of our own questions begins

# What LiteLLM puts around the engine's words (1.106.2).
_AROUND = re.compile(
    r"^(?:litellm\.\w{1,60}: )?(?:\w{1,60}Exception - )?|\.? ?(?:Handle with `litellm|LiteLLM: model group ).*$"
)
_INSIDE = re.compile(r'[\'"]message[\'"]: ?(?:"([^"]{1,400})|\'([^\']{1,400}))')

_CLIENTS = (
    ("claude-cli", "Claude Code"),
    ("claude-code", "Claude Code"),
    ("codex", "Codex"),
    ("opencode", "OpenCode"),
    ("qwen", "Qwen Code"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `at` is unix time in seconds; `request` a hash of it; `status` 0 when none was sent.

    `end` is `whole`, `left` (the client went away first) or `cut` (the answer has no end).
    """

    at: float
    seconds: float
    path: str
    status: int
    end: str
    request: str
    agent: str
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether the client got an error, or an answer without an end."""
        return self.status >= 400 or bool(self.error) or (self.end == "cut")

    @property
    def words(self) -> str:
        """The engine's own words in the error, as far as they can be told from what LiteLLM puts around them."""
        inside = _INSIDE.search(self.error)
        return (inside[1] or inside[2] if inside else _AROUND.sub("", self.error)).strip()

    @property
    def client(self) -> str:
        """Who asked, by the name that people know."""
        lower = self.agent.lower()
        return next((name for begin, name in _CLIENTS if begin in lower), self.agent.split("/")[0] or "a client")


def recorded(path: str) -> tuple[Asked, ...]:
    """The requests of clients in the record at `path`, oldest first; ours are left out. Raises OSError.

    A line that a full disk cut short is left out.
    """
    text = logtext.tail(f"{path}.old", size=_MOST) + logtext.tail(path, size=_MOST)
    found = [each for each in map(_entry, text.splitlines()) if each is not None and not each.agent.startswith(OURS)]
    return tuple(sorted(found, key=lambda each: each.at))


def _entry(line: str) -> Asked | None:
    try:
        raw: Any = json.loads(line)
        return Asked(
            at=float(raw["at"]), seconds=float(raw["seconds"]), path=str(raw["path"]), status=int(raw["status"]),
            end=str(raw["end"]), request=str(raw["request"]), agent=str(raw["agent"]), error=str(raw.get("error", "")),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None


# --- a server that keeps no record: a LiteLLM made by hand, or vLLM that clients ask themselves

_ACCESS = re.compile(r'"POST (?P<path>/\S{1,200}) HTTP/[\d.]{1,3}" (?P<status>\d{3})')
_CLOCK = re.compile(r"(?:^|[A-Z] \d\d-\d\d )(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?: - | \[)")
_SAID = re.compile(r"Exception occured - (?:litellm_call_id=\S{1,80} - )?(?P<error>.{1,400})")


def from_log(text: str, service: str = "gateway") -> tuple[Asked, ...]:
    """The POST requests that a server's log tells of, in their order; `at` is seconds of the day where it says so.

    An access line says neither when nor what was asked: the time and the error are those of the last line before it
    that has one, and requests to one path that end alike count as the same until one succeeds.
    """
    return tuple(_lines(symptoms.last_run(service, logtext.clean(text))))


def _lines(text: str) -> Iterator[Asked]:
    at, error = 0.0, ""
    answered: dict[str, int] = {}  # how often, by path
    for line in text.splitlines():
        if clock := _CLOCK.search(line[:120]):
            at = int(clock["h"]) * 3600.0 + int(clock["m"]) * 60 + int(clock["s"])
        if said := _SAID.search(line):
            error = said["error"]
        elif access := _ACCESS.search(line):
            path, status = access["path"].partition("?")[0], int(access["status"])
            failed = status >= 400
            if not failed:
                answered[path] = answered.get(path, 0) + 1
            same = f"{path} {status} {answered.get(path, 0)}"
            yield Asked(at, 0.0, path, status, "whole", same, "", error if failed else "")
            error = ""
