"""All checks of `stackctl doctor`, hop by hop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.checks import dotenv, live, logs, machine, storms

if TYPE_CHECKING:
    from stackctl.checks.check import Check
    from stackctl.checks.facts import Facts


def checks(facts: Facts) -> tuple[Check, ...]:
    """The checks for what was found; live ones only where requests may be sent."""
    found = (*machine.CHECKS, *logs.CHECKS, *live.checks(facts), *storms.CHECKS, *dotenv.CHECKS)
    return tuple(each for each in found if not (each.live and facts.static))
