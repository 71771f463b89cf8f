"""Findings from data: what each cause looks like, why, and what to do stands in catalog/answers/, a file to a hop."""

from __future__ import annotations

import dataclasses
import shlex
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from stackctl import catalog, shapes
from stackctl.checks.check import Hop
from stackctl.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackctl.model import Status

_FILES = {
    Hop.MACHINE: "machine",
    Hop.TOOLCHAIN: "toolchain",
    Hop.MODEL: "model",
    Hop.CONFIG: "configuration",
    Hop.ENGINE: "engine",
    Hop.GATEWAY: "gateway",
    Hop.CLIENT: "client",
    Hop.BEHAVIOUR: "behaviour",
}


_SERVERS = "server"  # what is told in the same words of an engine and of a gateway


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One cause. `symptom` is what the user sees; `cause` and `remedy` hold {words} that a finding fills in.

    Commands stand in a remedy as for the default stack with one engine; commands.py makes them the ones to type.
    `by_hand` is the remedy for a server that stackctl did not start, where that is another one.

    `fix` names a repair (stackctl/repair/verbs.py; {words} too), empty where none is safe. `source` says how it is known.
    """

    symptom: str
    cause: str
    remedy: str
    by_hand: str = ""
    fix: str = ""
    source: str = ""


@cache
def table() -> dict[str, tuple[Hop, Answer]]:
    """Every answer by the id of its finding, hop by hop in the order of blame."""
    found: dict[str, tuple[Hop, Answer]] = {}
    for hop, file in _FILES.items():
        found |= {name: (hop, row) for name, row in _rows(file).items()}
        if hop in {Hop.ENGINE, Hop.GATEWAY}:
            found |= {f"{hop}.{name}": (hop, row) for name, row in _rows(_SERVERS).items()}
    return found


def _rows(file: str) -> dict[str, Answer]:
    return shapes.convert(catalog.load(f"answers/{file}.yaml", object) or {}, dict[str, Answer])  # without rows: empty


def anchor(name: str) -> str:
    """Where docs/TROUBLESHOOTING.md tells of a finding: its id with dots as dashes."""
    return name.replace(".", "-")


def finding(
    name: str, status: Status, evidence: Iterable[str] = (), /, *, blocks: bool = True, **words: Any
) -> Finding:
    """The finding `name`, its texts filled with `words`. Raises KeyError for an id without a row or a word missing."""
    hop, row = table()[name]
    return Finding(
        name, status, row.cause.format_map(words), tuple(evidence), row.remedy.format_map(words), hop, anchor(name),
        row.fix.format_map(_Quoted(words)), blocks, row.by_hand.format_map(words), str(words.get("service", "")),
    )  # fmt: skip


class _Quoted(dict[str, Any]):
    """The words as a repair takes them: each one word, whatever is in it."""

    def __missing__(self, name: str) -> str:
        raise KeyError(name)

    def __getitem__(self, name: str) -> str:
        return shlex.quote(str(super().__getitem__(name)))


def restated(found: Finding, name: str, **words: Any) -> Finding:
    """A finding of another step (the preflight's, a symptom's) as the doctor's `name`; its own texts and repair stay."""
    hop, row = table()[name]
    fix = row.fix if words or "{" not in row.fix else ""
    fix = found.fix or fix.format_map(words)
    return dataclasses.replace(found, id=name, hop=hop, docs=anchor(name), fix=fix)
