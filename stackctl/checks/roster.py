"""All checks of `stackctl doctor`, hop by hop."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from stackctl.checks import (
    client,
    configuration,
    engineflags,
    handmade,
    live,
    logs,
    machine,
    modelfiles,
    processes,
    storms,
    tools,
)
from stackctl.checks.handmade import dotenv, leans, rows, running, values

if TYPE_CHECKING:
    from stackctl.checks.check import Check
    from stackctl.checks.facts import Facts


def checks(facts: Facts) -> tuple[Check, ...]:
    """The checks for what was found; live ones only where requests may be sent."""
    found = [*machine.CHECKS, *tools.CHECKS]
    if facts.hand_file is not None:
        found += handmade.CHECKS
    if facts.own:
        found += [
            *modelfiles.CHECKS,
            *configuration.CHECKS,
            *engineflags.CHECKS,
            *logs.CHECKS,
            *processes.CHECKS,
        ]
    elif facts.logs:
        found += logs.CHECKS
    found += [
        *client.CHECKS,
        *_after_their_processes(facts),
        *storms.CHECKS,
        *dotenv.CHECKS,
    ]
    return tuple(_after_the_files(each, facts) for each in found if not (each.live and facts.static))


_FILES = (
    "machine.ports", "configuration.usable", "configuration.flags", "configuration.values", "configuration.parsers", "model.there",
    "model.shards", "model.belongs", "model.plan", "model.kind", "model.method", "model.texts",
)  # fmt: skip


def _after_the_files(check: Check, facts: Facts) -> Check:
    """Of a start that failed, the log says again what is wrong with the files that are there to be read, or of a held port; and
    where the next start cannot even begin, what an earlier one failed for comes second.
    """
    if facts.running or check.id not in {"engine.log", "gateway.log"}:
        return check
    return dataclasses.replace(check, unless=_FILES)


def _after_their_processes(facts: Facts) -> list[Check]:
    """Each live check is only asked of a service whose processes are well: a dead one is blamed once.

    Beside a dead engine the others are asked all the same.
    """
    found = list(live.checks(facts))
    if facts.hand_file is not None:  # what a gateway does that has not read the file yet says nothing of the file
        return [_after_its_file(each) if _where(each) == "gateway" else each for each in found]
    if not facts.running:
        return found
    engines = facts.prepared.plan.engines if facts.prepared is not None else ()
    well = {f"engine:{each.name}" for each in engines if len(engines) > 1 and processes.well(facts, each.service)}
    return [each if each.id.partition("@")[2] in well else _after_its_process(each) for each in found]


_SAID_BY_THE_FILE = (
    *values.NAMES,
    "configuration.inside",
    "configuration.providers",
    "configuration.secrets",
    leans.NAME,
)


def _after_its_file(check: Check) -> Check:
    """What a gateway makes of a fault that was read in its file is not said again."""
    needs = (*check.needs, running.NAME, rows.DEPLOYMENTS)
    return dataclasses.replace(check, needs=needs, unless=(*check.unless, *_SAID_BY_THE_FILE))


def _after_its_process(check: Check) -> Check:
    where = _where(check)
    return _needs(check, f"{where}.process") if where else check


def _where(check: Check) -> str:
    """`engine` or `gateway` of a live check of one of them."""
    return check.id.partition("@")[2].partition(":")[0]


def _needs(check: Check, other: str) -> Check:
    return dataclasses.replace(check, needs=(*check.needs, other))
