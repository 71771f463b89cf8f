"""`stackctl logs`: what the services wrote, interleaved by time, without secrets; from the files, running or not."""

from __future__ import annotations

import json
import os
import re
import select
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stackctl import keys_file, logfile, names, output, redact, runstate
from stackctl.errors import ConfigError, NotRunningError, StackError
from stackctl.output import Outcome
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from collections.abc import Callable

LINES = 100
_SERVICES = ("engine", "gateway", "supervisor")
_READ = 8 * 1024 * 1024  # bytes of each log's end that are looked at
_LOOK = 0.2  # seconds between looks while following
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"(\d{1,9})([smhd])")
# vLLM: `INFO 11-23 20:10:11 [..]`; LiteLLM: `20:10:11 - LiteLLM..`; others ISO. All in local time.
_STAMP = re.compile(
    r"\b(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) (?P<month>\d\d)-(?P<day>\d\d) (?P<clock>\d\d:\d\d:\d\d)"
    r"|^(?P<bare>\d\d:\d\d:\d\d) - "
    r"|(?P<iso>\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d)"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What to show. `tail` is in lines for each service, None for the default; `since` as it was typed."""

    name: str | None
    config: str | None
    service: str | None = None
    follow: bool = False
    since: str | None = None
    tail: int | None = None
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log; `at` is unix time in seconds, of the line or of the last one before it that says."""

    service: str
    at: float
    text: str


def run(request: Request) -> Outcome:
    """Show the newest lines of each log. Raises ConfigError (2) for an unknown service or time, NotRunningError (4)
    when there is no log at all. With `follow`, goes on until it is interrupted.
    """
    paths = StackPaths(names.stack_name(request.name, request.config, os.environ))
    since = _since(request.since, time.time()) if request.since else None
    tail = request.tail if request.tail is not None else (None if since is not None else LINES)
    wanted = _wanted(paths, request)
    clean = redact.cleaner(_secrets(paths))
    readers = {name: logfile.Reader(paths.log(name)) for name in wanted}
    found: list[Line] = []
    for name, reader in readers.items():
        stamped = _stamped(name, reader.last(_READ, unfinished=not request.follow), _written_at(paths.log(name)))
        if since is not None:
            stamped = [each for each in stamped if each.at >= since]
        if tail is not None:
            stamped = stamped[-tail:] if tail else []
        found += [Line(each.service, each.at, clean(each.text)) for each in stamped]
    found.sort(key=lambda each: each.at)  # stable: a service's own lines keep their order
    if request.as_json and not request.follow:
        return Outcome(data={"name": paths.name, "lines": [_as_json(each) for each in found]})
    show = _printer(wanted, as_json=request.as_json)
    show(found)
    if request.follow:
        _follow(paths, readers, show, clean)
    return Outcome()


def _wanted(paths: StackPaths, request: Request) -> list[str]:
    """The services to show, in the order of start-up."""
    try:
        there = {name.removesuffix(".log") for name in os.listdir(paths.logs) if name.endswith(".log")}
    except OSError:
        there = set()
    known = _known(paths, there)
    if request.service is not None:
        if request.service not in known:
            raise ConfigError(
                f"the stack `{paths.name}` has no service {request.service!r}; it has {', '.join(known)}",
                remedy=f"stackctl logs {known[0]}{names.option(paths.name)}",
            )
        known = [request.service]
    if request.follow and os.path.isdir(paths.root):
        return known
    wanted = [each for each in known if each in there]
    if not wanted:
        what = f"no log of {request.service}" if request.service else "no logs"
        raise NotRunningError(f"the stack `{paths.name}` has {what} yet", remedy="stackctl up")
    return wanted


def _known(paths: StackPaths, there: set[str]) -> list[str]:
    """The stack's services: those that run; else those that have written, with the engines first."""
    try:
        state = runstate.running(paths)
    except StackError:
        state = None
    if state is not None and not state.recovered:
        return [*(each.name for each in state.services), "supervisor"]
    others = sorted(there - {*_SERVICES})
    return [*others, *_SERVICES] if not others or "engine" in there else [*others, *_SERVICES[1:]]


def _follow(
    paths: StackPaths,
    readers: dict[str, logfile.Reader],
    show: Callable[[list[Line]], None],
    clean: Callable[[str], str],
) -> None:
    gone = select.poll()
    gone.register(1, 0)  # only whether the reader of our pipe has left
    looked_at = time.monotonic()
    while True:
        now = time.time()
        new = [Line(name, now, text) for name, reader in readers.items() for text in reader.more()]
        if time.monotonic() - looked_at > 2:  # a restarted stack has new keys
            clean, looked_at = redact.cleaner(_secrets(paths)), time.monotonic()
        show([Line(each.service, each.at, clean(each.text)) for each in new])
        if gone.poll(_LOOK * 1000):
            raise BrokenPipeError


def _printer(wanted: list[str], *, as_json: bool) -> Callable[[list[Line]], None]:
    width = max(map(len, wanted))

    def show(lines: list[Line]) -> None:
        if as_json:
            output.data("".join(json.dumps({"schema": 1, "data": _as_json(each)}) + "\n" for each in lines))
        else:
            output.data("".join(f"{each.service:<{width}} | {each.text}\n" for each in lines))

    return show


def _as_json(line: Line) -> dict[str, Any]:
    return {"service": line.service, "at": line.at, "text": line.text}


def _secrets(paths: StackPaths) -> set[str]:
    """The client's key, and what is in the environment of the services that run."""
    found: set[str] = set()
    try:
        found.add(keys_file.read(paths) or "")
        state = runstate.running(paths)
    except StackError:  # what cannot be read must not keep the logs from being shown
        return found
    for each in state.services if state is not None else ():
        if each.pid is not None:
            found |= redact.secrets_of(each.pid)
    return found


# --- time -----------------------------------------------------------------------------------------------------------


def _since(text: str, now: float) -> float:
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now - int(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"--since {text!r} is neither a duration nor a time", remedy="stackctl logs --since 10m"
        ) from error


def _written_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return time.time()


def _stamped(service: str, lines: list[str], written: float) -> list[Line]:
    """Give each line a time: its own, else that of the line before; the first ones, that of the first that says."""
    stamps = [_stamp(each, written) for each in lines]
    last = next((each for each in stamps if each is not None), written)
    found = []
    for text, stamp in zip(lines, stamps, strict=True):
        last = last if stamp is None else stamp
        found.append(Line(service, last, text))
    return found


def _stamp(text: str, written: float) -> float | None:
    """The time that a line says, at the latest when its log was last written: no log says the year, some no day."""
    match = _STAMP.search(text[:200])
    if match is None:
        return None
    last = datetime.fromtimestamp(written).astimezone()
    try:
        if match["iso"]:
            return datetime.fromisoformat(match["iso"]).astimezone().timestamp()
        clock = datetime.strptime(match["clock"] or match["bare"], "%H:%M:%S").time()  # noqa: DTZ007 - a time of day
        if match["bare"]:
            at = datetime.combine(last.date(), clock).astimezone().timestamp()
            return at if at <= written + 2 else at - 86400
        at = datetime(last.year, int(match["month"]), int(match["day"]), clock.hour, clock.minute, clock.second).astimezone().timestamp()  # fmt: skip
    except ValueError:
        return None
    return at if at <= written + 86400 else at - 365.25 * 86400
