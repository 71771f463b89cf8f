"""Which parsers each tested vLLM has, and under which names (registries.yaml, read from the wheels)."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

import msgspec

from stackctl import catalog

ParserKind = Literal["tool", "reasoning"]


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One release: {name: the class behind it} for tool and reasoning parsers; `sha256` is the wheel's."""

    version: str
    wheel: str
    sha256: str
    tool: dict[str, str]
    reasoning: dict[str, str]

    def parsers(self, kind: ParserKind) -> dict[str, str]:
        """Those of a kind."""
        return self.tool if kind == "tool" else self.reasoning


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    releases: tuple[Release, ...]


@cache
def releases() -> tuple[Release, ...]:
    """All of registries.yaml, the oldest release first; read once."""
    return catalog.load("registries.yaml", _Table).releases


def of_version(version: str) -> Release:
    """The newest recorded release that is not newer than `version`; the oldest for one from before."""
    older = [each for each in releases() if _release(each.version) <= _release(version)]
    return older[-1] if older else releases()[0]


def same(one: str, other: str, kind: ParserKind = "tool") -> bool:
    """Whether two names mean the same parser in some release."""
    if one == other:
        return True
    known = [each.parsers(kind) for each in releases()]
    return any(names.get(one) is not None and names.get(one) == names.get(other) for names in known)


def parser_for(
    version: str, name: str, *, kind: ParserKind = "tool", installed: frozenset[str] | None = None
) -> str | None:
    """The name by which a vLLM knows the parser `name` (itself, or another name of the same class), else None.

    `installed` are the names that the installed vLLM has; without it those recorded for `version` count.
    """
    known = installed if installed is not None else frozenset(of_version(version).parsers(kind))
    others = [
        other
        for each in reversed(releases())
        for other, target in each.parsers(kind).items()
        if target == each.parsers(kind).get(name)
    ]
    return next((each for each in (name, *others) if each in known), None)


def _release(version: str) -> tuple[int, ...]:
    """`0.32.0+cpu` or `0.33.0rc1` as (0, 32, 0) and (0, 33, 0); what is not a version comes after all of them."""
    parts = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(each or 0) for each in parts.groups()) if parts else (10**6,)
