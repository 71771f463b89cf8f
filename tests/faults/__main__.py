"""`make faults`: every fault of the corpus tried on doctor, the table, and the bars that it must pass.

python -m tests.faults [--resume [--again]] [--write]                       all of it, in two lanes side by side
python -m tests.faults [--kind KIND] [--only ID] [--file NAME] [--held-out] some of it, which leaves no results
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fakes import stack
from tests.faults import corpus, healthy, results, scratch, table
from tests.faults.judge import Verdict, judge
from tests.faults.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONGEST = 420.0  # seconds for one fault with its setting up, its repair and its healing
LANES = {"static": ("static", "real"), "live": ("live",)}  # each after the other; what waits does not hold up the rest


def main(argv: list[str]) -> int:
    """Run; 1 when a bar is missed, 2 when not everything was tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="the fault corpus of stackctl doctor")
    parser.add_argument("--kind", choices=["static", "live", "real"])
    parser.add_argument("--only", action="append", metavar="ID")
    parser.add_argument("--file", action="append", metavar="NAME")
    parser.add_argument("--held-out", action="store_true", help="the faults that no check was written for")
    parser.add_argument("--resume", action="store_true", help="leave out what a run that was cut off has tried")
    parser.add_argument("--again", action="store_true", help="after a change of the sources: only what was missed")
    parser.add_argument("--write", action="store_true", help="write docs/FAULTS.md")
    parser.add_argument("--lane", choices=list(LANES), help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    shared = os.environ.get("STACKCTL_TEST_ENVS")
    os.environ["STACKCTL_ENVS"] = (
        shared or os.environ.get("STACKCTL_ENVS") or str(Path.home() / ".local/state/stackctl/envs")
    )
    began = time.monotonic()
    if given.kind or given.only or given.file or given.held_out:
        return _some(given, began)
    if given.lane:
        _lane(given.lane, resume=given.resume or given.again, again=given.again)
        return 0
    return _all(argv, began, write=given.write)


def _some(given: argparse.Namespace, began: float) -> int:
    rows = corpus.load(*([corpus.HELD_OUT] if given.held_out else given.file or corpus.FILES))
    rows = [
        row for row in rows if (not given.kind or row.kind == given.kind) and (not given.only or row.id in given.only)
    ]
    done: dict[str, Verdict] = {}
    _try(rows, [], "", done)
    return _told(rows, [done[results.key(row)] for row in rows], [], time.monotonic() - began)


def _all(argv: list[str], began: float, *, write: bool) -> int:
    """Both lanes; what they have found is one table."""
    lanes = [subprocess.Popen([sys.executable, "-m", "tests.faults", "--lane", each, *argv]) for each in LANES]

    def ended(*_: object) -> None:
        for each in lanes:
            each.terminate()

    for each in scratch.ENDS:
        signal.signal(each, ended)
    for lane in lanes:
        lane.wait()
    rows = corpus.load()
    done: dict[str, Verdict] = {}
    for name in LANES:
        done |= results.read(name).done
    wells = [healthy.mark(each) for each in healthy.NAMES]
    missing = [each for each in (*wells, *map(results.key, rows)) if each not in done]
    if missing:
        print(f"not tried yet: {len(missing)}; go on with --resume")
        return 2
    found, well = [done[results.key(row)] for row in rows], [done[each] for each in wells]
    if write:
        (stack.ROOT / "docs" / "FAULTS.md").write_text(table.document(rows, found, well))
    return _told(rows, found, well, time.monotonic() - began)


def _lane(name: str, *, resume: bool, again: bool) -> None:
    rows = [row for row in corpus.load() if row.kind in LANES[name]]
    wells = [each for each in healthy.NAMES if (each == "files") == (name == "static")]
    now = results.sources()
    wanted = [*map(healthy.mark, wells), *map(results.key, rows)]
    done = results.earlier(name, wanted, now, again=again) if resume else {}
    _try(rows, wells, name, done, now)


def _try(
    rows: Sequence[corpus.Fault], wells: Sequence[str], lane: str, done: dict[str, Verdict], now: str = ""
) -> None:
    """Try what is not `done` yet; what came out is added there, and kept where the sources are named."""

    def step(name: str, look: Callable[[], Verdict]) -> None:
        if name in done:
            return
        with scratch.within(LONGEST):
            done[name] = look()
        print(table.line(done[name]), flush=True)
        if now:
            results.keep(lane, results.Results(now, done))

    with scratch.scratch(results.BUILD, lane) as place:
        stage = Stage(place)
        try:
            for name in wells:
                step(healthy.mark(name), functools.partial(healthy.look, stage, name))
            for row in rows:
                step(results.key(row), functools.partial(judge, stage, row))
        finally:
            stage.close()


def _told(rows: Sequence[corpus.Fault], found: Sequence[Verdict], well: Sequence[Verdict], seconds: float) -> int:
    text, missed = table.made(rows, found, well, seconds)
    print(text)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
