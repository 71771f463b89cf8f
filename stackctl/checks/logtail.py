"""The end of a log as it may be sent to others: what a server says by itself, and nothing of what it was asked.

Until a server is ready nobody can have asked it anything, and its words stay as they are. From then on anything may hold a
prompt or code: only places, names of exceptions, lines of requests, counters and what the catalogue knows is shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from stackctl import logtext
from stackctl.catalog import running, symptoms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stackctl.model import ServiceKind

_LINES = 60
_LEFT_OUT = "(left out: it may hold what was asked)"
# A line that a server itself writes: with a level, of a traceback (the place, not the source), or an exception's name.
_OWN = re.compile(
    r"^(?:\([^()]{1,60}\) )?(?:(?:INFO|WARNING|ERROR|CRITICAL|DEBUG)\b|\d\d:\d\d:\d\d - |Traceback |  File \"|[\w.]{1,120}(?:Error|Exception)\b)"
)
_CONTENT = re.compile(
    r"prompt(?! throughput)|messages['\"]|\bcontent\b|\brole\b|input_value|\bbody\b|\bpayload\b|\barguments\b|Received request|curl ",
    re.IGNORECASE,
)
_HEAD = re.compile(
    r"(?:\([^()]{1,60}\) )?(?:[A-Z]{4,8} [\d-]{1,10} [\d:]{1,8} \[[^\]\s]{1,80}\] |\d\d:\d\d:\d\d - LiteLLM[\w ]{0,20}:[A-Z]{4,8}: [\w.]{1,60}:\d{1,6} - |[A-Z]{4,8}: +)"
)
_NAME = re.compile(r"(?<![\w.])(?:[a-z_]\w{0,40}\.){0,6}[A-Z]\w{0,60}(?:Error|Exception)\b(?=: |$)")
_PLACE = re.compile(r"^(?:Traceback \(most recent call last\):|  File \"[^\"]{1,300}\", line \d{1,6}, in \S{1,120})$")
_FINE = re.compile(
    r'"(?:GET|HEAD|POST) /\S{0,2000} HTTP/[\d.]{1,3}" 200'
)  # requests that went well have their own part
_REQUEST = re.compile(r'"[A-Z]{3,7} /\S{0,2000} HTTP/[\d.]{1,3}" \d{3}')
_QUERY = re.compile(r"\?\S*(?= HTTP)")
_ASKED = re.compile(r'"POST /|Received request')
_COUNTERS = re.compile(r"\bthroughput: [\d.]{1,12} tokens/s")
_QUOTED = re.compile(r"'[^']{40,}'|\"[^\"]{40,}\"|`[^`]{40,}`|\{.{40,}\}")


def shown(kind: ServiceKind | None, log: str, clean: Callable[[str], str]) -> list[str]:
    """The last lines of a log of a kind of service (None: stackctl's own); `clean` takes out what is secret."""
    text = logtext.clean(log)
    begins, asked = _start(kind.value, text) if kind is not None else (0, len(text))
    lines: list[str] = []
    for part, say in ((text[:begins], _served), (text[begins:asked], without_content), (text[asked:], _served)):
        lines += [say(line) for line in map(clean, part.splitlines()) if _OWN.match(line) and not _FINE.search(line)]
    return list(_together(lines))[-_LINES:]


def without_content(line: str) -> str:
    """A line, without what stands in quotes at length; only its head where it speaks of a request's content."""
    if _CONTENT.search(line):
        head = _HEAD.match(line)
        return f"{head[0] if head else ''}{_LEFT_OUT}"
    return _QUOTED.sub("<...>", line)


def noticed(line: str) -> str:
    """A line of a log that a finding shows: of what is said to clients only the words that are known."""
    words = running.words("engine", line) or running.words("gateway", line)
    return without_content(words or line)


def _start(service: Literal["engine", "gateway"], text: str) -> tuple[int, int]:
    """Where the last run begins, and where somebody may first have asked it something.

    A text in which nothing begins may be the end of a long log: where anybody asked anything, nothing of it is a start.
    """
    begins = symptoms.run_begins(service, text)
    last = text[begins or 0 :]
    asked = _ASKED.search(last)
    if begins is None and asked:
        return 0, 0
    ends = (symptoms.ready(service, last), asked.start() if asked else 0)
    return begins or 0, (begins or 0) + min(filter(None, ends), default=len(last))


def _served(line: str) -> str:
    """What may be shown of a line that was written while clients were served."""
    request = _REQUEST.search(line)
    if request:
        return line[: request.start()] + _QUERY.sub("", request[0])
    if _PLACE.match(line) or _COUNTERS.search(line):
        return line
    head = _HEAD.match(line)
    begin = head[0] if head else ""
    if known := _known(line):
        return f"{begin}{without_content(known)}"
    name = _NAME.search(line, len(begin))
    return f"{begin}{name[0] + ': ' if name else ''}{_LEFT_OUT}"


def _known(line: str) -> str:
    """The words of a line that the catalogue knows; empty without such."""
    services: tuple[Literal["engine", "gateway"], ...] = ("engine", "gateway")
    found = (words for each in services for words in (running.words(each, line), symptoms.words(each, line)))
    return next(filter(None, found), "")


def _together(lines: list[str]) -> Iterator[str]:
    """Lines, those that say nothing more than the one before once."""
    count, last = 0, ""
    for line in [*lines, ""]:
        if line == last:
            count += 1
            continue
        if last:
            yield last if count == 1 else f"{last} ({count} times)"
        count, last = 1, line
