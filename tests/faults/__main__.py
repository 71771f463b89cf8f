"""`make faults`: every fault of the corpus tried on doctor, the table, and the bars that it must pass.

python -m tests.faults [--kind static|live|real] [--only ID] [--file NAME] [--held-out] [--resume] [--write]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

import msgspec

from tests.fakes import stack
from tests.faults import corpus, healthy, scratch, table
from tests.faults.judge import Verdict, judge
from tests.faults.stage import Stage

RESULTS = stack.ROOT / "build" / "faults.json"
LONGEST = 420.0  # seconds for one fault with its setting up, its repair and its healing


def main(argv: list[str]) -> int:
    """Run; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="the fault corpus of stackctl doctor")
    parser.add_argument("--kind", choices=["static", "live", "real"])
    parser.add_argument("--only", action="append", metavar="ID")
    parser.add_argument("--file", action="append", metavar="NAME")
    parser.add_argument("--held-out", action="store_true", help="the faults that no check was written for")
    parser.add_argument("--resume", action="store_true", help="leave out what a run that was cut off has tried")
    parser.add_argument("--again", action="store_true", help="after a change of the sources: only what was missed")
    parser.add_argument("--write", action="store_true", help="write docs/FAULTS.md")
    given = parser.parse_args(argv)
    os.environ.setdefault(
        "STACKCTL_ENVS", os.environ.get("STACKCTL_TEST_ENVS", str(Path.home() / ".local/state/stackctl/envs"))
    )
    if os.environ.get("STACKCTL_TEST_ENVS"):
        os.environ["STACKCTL_ENVS"] = os.environ["STACKCTL_TEST_ENVS"]
    rows = corpus.load(*([corpus.HELD_OUT] if given.held_out else given.file or corpus.FILES))
    rows = [
        row for row in rows if (not given.kind or row.kind == given.kind) and (not given.only or row.id in given.only)
    ]
    done = _earlier(rows, again=given.again) if given.resume else {}
    wells = {} if given.held_out or given.only or given.file else {name: f"healthy-{name}" for name in healthy.NAMES}
    began = time.monotonic()
    some = given.only or given.file or given.kind or given.held_out
    sources = "" if some and not given.resume else _sources()  # a look at some of them leaves no results
    with scratch.scratch(RESULTS.parent) as place:
        stage = Stage(place)
        try:
            for name, mark in wells.items():
                if (given.kind in {None, "live"} or name == "files") and _key(mark) not in done:
                    with scratch.within(LONGEST):
                        done[_key(mark)] = healthy.look(stage, name)
                    _say(done[_key(mark)])
                    _keep(done, sources)
            for row in rows:
                if _key(row) not in done:
                    with scratch.within(LONGEST):
                        done[_key(row)] = judge(stage, row)
                    _say(done[_key(row)])
                    _keep(done, sources)
        finally:
            stage.close()
    found = [done[_key(row)] for row in rows]
    well = [done[_key(mark)] for mark in wells.values() if _key(mark) in done]
    _keep(done, sources)
    text, missed = table.made(rows, found, well, time.monotonic() - began)
    print(text)
    if given.write:
        (stack.ROOT / "docs" / "FAULTS.md").write_text(table.document(rows, found, well))
    return 1 if missed else 0


def _key(row: corpus.Fault | str) -> str:
    """A row that is changed is tried again."""
    return row if isinstance(row, str) else f"{row.id} {hashlib.sha256(msgspec.json.encode(row)).hexdigest()[:12]}"


class Results(msgspec.Struct):
    """What was tried so far, with which state of the sources."""

    sources: str
    done: dict[str, Verdict]


def _sources() -> str:
    """The state of the product and of what tries it; the rows themselves count one by one."""
    made = hashlib.sha256()
    for place in ("stackctl", "tests/faults", "tests/fakes"):
        for file in sorted((stack.ROOT / place).rglob("*")):
            if file.suffix in {".py", ".j2", ".jinja"} or (file.suffix == ".yaml" and place == "stackctl"):
                made.update(f"{file} {hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return made.hexdigest()


def _earlier(rows: list[corpus.Fault], *, again: bool) -> dict[str, Verdict]:
    """What need not be tried. A run that is whole, or of other sources, is no help, unless it is asked for."""
    if not RESULTS.exists():
        return {}
    try:
        found = msgspec.json.decode(RESULTS.read_bytes(), type=Results)
    except msgspec.DecodeError:  # of an earlier version of this program
        return {}
    if again:
        return {name: each for name, each in found.done.items() if not table.short(each)}
    whole = all(_key(row) in found.done for row in rows)
    return {} if whole or found.sources != _sources() else found.done


def _keep(done: dict[str, Verdict], sources: str) -> None:
    if not sources:
        return
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_bytes(msgspec.json.encode(Results(sources, done)))


def _say(verdict: Verdict) -> None:
    print(table.line(verdict), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
