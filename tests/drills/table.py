"""What the drills measured, beside the bar that each must keep.

A drill prints `drill 6: unready after 1.2 s, healed after 3 s`; 6 is its number here, S3 that of a security drill, and
`+` stands for what has no number. `python -m tests.drills` collects the lines, prints the table and keeps it as
build/drills.json, from which docs/RELIABILITY.md is made.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

KEPT = Path(__file__).resolve().parents[2] / "build" / "drills.json"
_LINE = re.compile(r"drill (?P<number>\d+|S\d+|\+): (?P<measured>.*)")


@dataclass(frozen=True, slots=True)
class Drill:
    """One fault and its bar; `real` says that it is also run on real vLLM."""

    number: str
    fault: str
    bar: str
    real: bool = False


DRILLS = (
    Drill("1", "kill -9 supervisor", "survivors after 2 s = 0", real=True),
    Drill("2", "kill -9 API server", "old engine processes after 8 s = 0, restarted", real=True),
    Drill("3", "leader exits on TERM, child ignores it", "survivors = 0"),
    Drill("4", "worker in its own session", "survivors = 0"),
    Drill("5", "kill -9 EngineCore", "restart begun <= 5 s after detection", real=True),
    Drill("6", "SIGSTOP API server", "healed in <= 20 s"),
    Drill("7", "SIGSTOP EngineCore only, or a deadlock in it", "detected in <= 30 s", real=True),
    Drill("8", "crash loop", "<= 5 starts in 30 s, then stopped with cause"),
    Drill("9", "supervisor frozen 12 s, chatty child", "100 % of requests answered"),
    Drill("10", "kill -9 supervisor and guard together", "the next command leaves 0"),
    Drill("11", "port squatter", "clear error naming the holder in <= 1 s"),
    Drill("12", "squatter that answers 200 on /health", "never called ready"),
    Drill("13", "twenty `up`s at once", "one stack"),
    Drill("14", "six kinds of corrupt state file", "`down` and `up` work"),
    Drill("15", "recycled pid, forged state", "nobody else signalled"),
    Drill("16", "load longer than the timeout, but progressing", "not killed"),
    Drill("17", "load that stalls", "failed within timeout + 5 s, with cause"),
    Drill("18", "accepts but never answers", "unready in <= 15 s"),
    Drill("19", "log flood on a 16 MB tmpfs", "cap kept, 100 % answered"),
    Drill("20", "disk full", "engine lives, state readable"),
    Drill("21", "^C and ^C^C during start-up in a terminal", "prompt back in <= grace / <= 2 s, 0 left", real=True),
    Drill("22", "terminal closed", "foreground 0 left, detached unaffected"),
    Drill("23", "LiteLLM with a broken config", "rolled back, 0 left", real=True),
    Drill("24", "the whole stack stopped for 60 s", "0 restarts"),
    Drill("25", "idle cost: supervisor + guards", "<= 50 MB, <= 0.5 % of a core"),
    Drill("26", "a hundred rounds of killing at random, seeded", "0 left every time"),
    Drill("27", "200 up/down cycles", "no growth of files, descriptors or memory"),
    Drill("28", "`upgrade` killed at each step", "the old stack still starts"),
    Drill("S1", "sockets of the whole tree", "loopback only, also torch's", real=True),
    Drill("S2", "a non-loopback bind", "needs an explicit flag and a key"),
    Drill("S3", "canary secret in command lines, state and logs", "0 hits", real=True),
    Drill("S4", "state directory: symlinks, other owner, group-writable", "refused"),
    Drill("S5", "umask 000", "files 0600, directories 0700", real=True),
    Drill("S6", "`.env` and Python modules planted in the user's directory", "not read"),
    Drill("S7", "evil Host and Origin", "nothing without the key, no CORS grant", real=True),
    Drill("S8", "the user's tokens", "HF's only to the download and the engine, providers' only to the gateway"),
    Drill("S9", "telemetry, or anything else that leaves the machine", "0 attempts", real=True),
    Drill("S10", "the control socket", "0600, and the peer's uid is checked"),
    Drill(
        "S11",
        "the engine's paths without a key",
        "closed but for health and counters, which the README names",
        real=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What one run of a drill measured; `measured` is FAILED (and where) for one that failed."""

    number: str
    measured: str


def read(output: str, *, real: bool) -> list[Row]:
    """The rows in what a test printed."""
    word = "real: " if real else ""
    found = [_LINE.fullmatch(line) for line in output.splitlines()]
    return [Row(each["number"], word + each["measured"]) for each in found if each is not None]


def missing(rows: list[Row]) -> list[str]:
    """The drills that measured nothing."""
    seen = {row.number for row in rows}
    return [drill.number for drill in DRILLS if drill.number not in seen]


def _in_order(rows: list[Row]) -> list[tuple[Drill, list[str]]]:
    known = [(drill, [row.measured for row in rows if row.number == drill.number]) for drill in DRILLS]
    extra = [row.measured for row in rows if row.number not in {drill.number for drill in DRILLS}]
    return [*known, *([(Drill("+", "and more", ""), extra)] if extra else [])]


def text(rows: list[Row]) -> str:
    """The table for a terminal."""
    lines = []
    for drill, measured in _in_order(rows):
        lines.append(
            f"{drill.number:>3}{'*' if drill.real else ' '} {drill.fault}{f'   [{drill.bar}]' if drill.bar else ''}"
        )
        lines += [f"       {each}" for each in measured or ["(not run)"]]
    return "\n".join(lines)


def markdown(rows: list[Row]) -> str:
    """The table for a document."""
    lines = ["| # | fault | bar | measured |", "|---|---|---|---|"]
    for drill, measured in _in_order(rows):
        star = "\\*" if drill.real else ""
        lines.append(f"| {drill.number}{star} | {drill.fault} | {drill.bar} | {'<br>'.join(measured) or 'not run'} |")
    return "\n".join(lines)


def keep(rows: list[Row]) -> None:
    """Keep what was measured; a drill that ran replaces what it measured before, the others stay."""
    ran = set(map(_which, rows))
    before = [row for row in load() if _which(row) not in ran]
    KEPT.parent.mkdir(exist_ok=True)
    kept = [[row.number, row.measured] for row in (*before, *rows)]
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")


def _which(row: Row) -> tuple[str, bool, str]:
    """What a row replaces: the same drill, on the same engine; without a number, what is called the same."""
    name = row.measured.partition(":")[0] if row.number == "+" else ""
    return row.number, row.measured.startswith("real: "), name


def load() -> list[Row]:
    """What was measured last; nothing where no drill was run."""
    return [Row(number, measured) for number, measured in json.loads(KEPT.read_text())] if KEPT.exists() else []
