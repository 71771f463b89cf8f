"""Raw markup in a model's text: whose way of calling tools (or of thinking) it is, and the parser that reads it."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

import msgspec

from stackctl import catalog

Kind = Literal["calls", "thinking"]


class Markup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of the catalogue; the meaning of each field stands at the head of markup.yaml."""

    name: str
    pattern: str
    parsers: tuple[str, ...]
    sample: str
    source: str


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """markup.yaml as a whole."""

    schema: Literal[1]
    calls: tuple[Markup, ...]
    thinking: tuple[Markup, ...]
    ends: str


@cache
def catalogue() -> Catalogue:
    """All of markup.yaml, read once."""
    return catalog.load("markup.yaml", Catalogue)


def find(text: str, kind: Kind = "calls") -> Markup | None:
    """The row that `text` shows the markup of, or None."""
    rows = catalogue().calls if kind == "calls" else catalogue().thinking
    return next((row for row in rows if re.search(row.pattern, text, re.DOTALL)), None)


def end_of_turn(text: str) -> str:
    """The first token of `text` that ends a turn or begins one, which no answer should have; empty without one."""
    found = re.search(catalogue().ends, text)
    return found.group() if found else ""
