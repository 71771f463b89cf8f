"""What was tried so far, kept on disk: a run that is cut off goes on where it was."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from tests.fakes import stack
from tests.faults import table
from tests.faults.judge import Verdict  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.corpus import Fault

BUILD = stack.ROOT / "build"


class Results(msgspec.Struct):
    """`sources` is the state of the product and of what tries it, `done` the verdicts by `key`."""

    sources: str
    done: dict[str, Verdict]


def key(row: Fault | str) -> str:
    """A row that is changed is tried again; a healthy stack goes by its name."""
    return row if isinstance(row, str) else f"{row.id} {hashlib.sha256(msgspec.json.encode(row)).hexdigest()[:12]}"


def sources() -> str:
    """The rows themselves count one by one, by `key`."""
    made = hashlib.sha256()
    for place in ("stackctl", "tests/faults", "tests/fakes"):
        for file in sorted((stack.ROOT / place).rglob("*")):
            if file.suffix in {".py", ".j2", ".jinja"} or (file.suffix == ".yaml" and place == "stackctl"):
                made.update(f"{file} {hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return made.hexdigest()


def earlier(lane: str, wanted: Sequence[str], now: str, *, again: bool) -> dict[str, Verdict]:
    """What need not be tried. A run that is whole, or of other sources than `now`, is no help, unless it is asked for."""
    found = read(lane)
    if again:
        return {name: each for name, each in found.done.items() if not table.short(each)}
    whole = all(each in found.done for each in wanted)
    return {} if whole or found.sources != now else found.done


def read(lane: str) -> Results:
    """What a lane has found; nothing where that is of another version of this program."""
    file = BUILD / f"faults-{lane}.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Results)
    except (FileNotFoundError, msgspec.DecodeError):
        return Results("", {})


def keep(lane: str, found: Results) -> None:
    """Write it down."""
    BUILD.mkdir(exist_ok=True)
    (BUILD / f"faults-{lane}.json").write_bytes(msgspec.json.encode(found))
