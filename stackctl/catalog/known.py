"""Which finding each known failure becomes (known.yaml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from stackctl import catalog


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One known failure; what each field holds stands at the head of known.yaml."""

    row: str
    found_by: tuple[str, ...]
    source: str
    about: str = ""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: Literal[1]
    rows: tuple[Known, ...]


@cache
def table() -> tuple[Known, ...]:
    """All rows of known.yaml, read once."""
    return catalog.load("known.yaml", _Table).rows
