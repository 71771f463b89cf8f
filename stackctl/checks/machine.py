"""Checks of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.checks import answers, preflight
from stackctl.checks.check import Check, Hop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding


def memory(facts: Facts) -> Iterator[Finding]:
    """Enough memory is free; of a stack that runs, the model has it already."""
    if facts.prepared is not None and not facts.running:
        for each in preflight.run(facts.prepared, (preflight.memory,)):
            yield answers.restated(each, "machine.memory")


CHECKS = (Check("machine.memory", Hop.MACHINE, "The model fits into the memory that is free.", memory),)
