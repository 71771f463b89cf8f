"""What is said while a stack serves, and what it means: vLLM's warnings, requests' errors, a client's screen (running.yaml)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

import msgspec

from stackctl import catalog, logtext
from stackctl.catalog import symptoms

Where = Literal["engine", "gateway", "client"]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line with a meaning; what each field holds stands at the head of running.yaml."""

    id: str
    where: Where
    pattern: str
    symptom: str
    cause: str
    remedy: str
    sample: str
    source: str


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: Literal[1]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Noticed:
    """A meaning that was found: `cause` is one sentence without a full stop, `line` the last of `count` that say it."""

    id: str
    cause: str
    remedy: str
    line: str
    count: int = 1


@cache
def table() -> tuple[Row, ...]:
    """All rows of running.yaml, read once."""
    return catalog.load("running.yaml", _Table).rows


def noticed(where: Where, text: str, *, engine: str = "NAME") -> tuple[Noticed, ...]:
    """What the last run in a log says, each meaning once, in the order of the rows.

    `engine` is the name in a remedy's `engines.NAME`.
    """
    text = symptoms.last_run(where, logtext.clean(text))
    found = []
    for row, pattern in _patterns(where):
        matches = list(pattern.finditer(text))
        if matches:
            found.append(_said(row, matches[-1], logtext.line_of(text, matches[-1].start()), len(matches), engine))
    return tuple(found)


def meaning(where: Where, text: str, *, engine: str = "NAME") -> Noticed | None:
    """What one message means, or None for an unknown one."""
    text = logtext.clean(text)
    for row, pattern in _patterns(where):
        if match := pattern.search(text):
            return _said(row, match, logtext.line_of(text, match.start()), 1, engine)
    return None


def words(where: Where, line: str) -> str:
    """The words by which a line of a log is known, without what stands around them; empty for an unknown one."""
    found = (pattern.search(line) for _, pattern in _patterns(where))
    return next((each[0] for each in found if each), "")


@cache
def _patterns(where: Where) -> tuple[tuple[Row, re.Pattern[str]], ...]:
    return tuple((row, re.compile(row.pattern, re.MULTILINE)) for row in table() if row.where == where)


def _said(row: Row, match: re.Match[str], line: str, count: int, engine: str) -> Noticed:
    values = symptoms.values(match)
    cause, remedy = (" ".join(symptoms.fill(text, values).split()) for text in (row.cause, row.remedy))
    return Noticed(row.id, cause, remedy.replace("engines.NAME", f"engines.{engine}"), line, count)
