"""`make faults`: every fault of the corpus tried on doctor, the table, and the bars that it must pass.

python -m tests.faults [--kind static|live|real] [--only ID] [--file NAME] [--held-out] [--resume] [--write]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from tests.fakes import stack
from tests.faults import corpus, healthy, table
from tests.faults.judge import Verdict, judge
from tests.faults.stage import Stage

RESULTS = stack.ROOT / "build" / "faults.json"


def main(argv: list[str]) -> int:
    """Run; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="the fault corpus of stackctl doctor")
    parser.add_argument("--kind", choices=["static", "live", "real"])
    parser.add_argument("--only", action="append", metavar="ID")
    parser.add_argument("--file", action="append", metavar="NAME")
    parser.add_argument("--held-out", action="store_true", help="the faults that no check was written for")
    parser.add_argument("--resume", action="store_true", help="leave out what an earlier run has tried")
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
    done = _earlier() if given.resume else {}
    wells = {} if given.held_out or given.only or given.file else {name: f"healthy-{name}" for name in healthy.NAMES}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults") as scratch:
        stage = Stage(Path(scratch).resolve())
        try:
            for name, mark in wells.items():
                if (given.kind in {None, "live"} or name == "files") and _key(mark) not in done:
                    done[_key(mark)] = healthy.look(stage, name)
                    _say(done[_key(mark)])
            for row in rows:
                if _key(row) not in done:
                    done[_key(row)] = judge(stage, row)
                    _say(done[_key(row)])
                    _keep(done)
        finally:
            stage.close()
    found = [done[_key(row)] for row in rows]
    well = [done[_key(mark)] for mark in wells.values() if _key(mark) in done]
    _keep(done)
    text, missed = table.made(rows, found, well, time.monotonic() - began)
    print(text)
    if given.write:
        (stack.ROOT / "docs" / "FAULTS.md").write_text(table.document(rows, found, well))
    return 1 if missed else 0


def _key(row: corpus.Fault | str) -> str:
    """A row that is changed is tried again."""
    return row if isinstance(row, str) else f"{row.id} {hashlib.sha256(msgspec.json.encode(row)).hexdigest()[:12]}"


def _earlier() -> dict[str, Verdict]:
    return msgspec.json.decode(RESULTS.read_bytes(), type=dict[str, Verdict]) if RESULTS.exists() else {}


def _keep(done: dict[str, Verdict]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_bytes(msgspec.json.encode(done))


def _say(verdict: Verdict) -> None:
    print(table.line(verdict), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
