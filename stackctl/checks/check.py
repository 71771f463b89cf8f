"""What a check of `stackctl doctor` is. Types only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding


class Hop(StrEnum):
    """The parts of the chain in the order of blame: what fails first explains what fails behind it."""

    MACHINE = "machine"
    TOOLCHAIN = "toolchain"
    MODEL = "model files"
    CONFIG = "configuration"
    ENGINE = "engine"
    GATEWAY = "gateway"
    CLIENT = "client"
    BEHAVIOUR = "behaviour"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `run` yields findings that are not fine; one that yields nothing is fine.

    `id` is dotted (`engine.answers`); a live one of an endpoint names it (`tools@engine:main`). `proves` is one
    sentence. `needs` are ids of checks: when one of them failed, was skipped, or warned with `blocks`, this one is
    skipped. `unless` are those that say the same from nearer by when they failed. `live` ones send requests. Past `seconds` it is given up, and the rest goes on.
    """

    id: str
    hop: Hop
    proves: str
    run: Callable[[Facts], Iterable[Finding]]
    needs: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    live: bool = False
    seconds: float = 15.0
