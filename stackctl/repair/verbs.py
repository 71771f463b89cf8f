"""The repairs by name, as a finding's `fix` writes them: `NAME WORD...`, several joined by ` && `, ways by ` || `."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import yaml

from stackctl.errors import StackError
from stackctl.repair import (
    handmade,
    handmade_rows,
    modelfiles,
    modelpath,
    refused,
    room,
    running,
    shellvars,
    space,
    stackfile,
    startup,
    theirs,
)
from stackctl.repair.change import Change
from stackctl.repair.context import Here, ImpossibleError

if TYPE_CHECKING:
    from stackctl.checks.facts import Facts
    from stackctl.model import Finding
    from stackctl.repair.context import Verb


def _patience(here: Here) -> Change | None:
    return stackfile.patience(here) if here.facts.own else handmade.patience(here)


NAMES: dict[str, Verb] = {
    **stackfile.VERBS,
    **refused.VERBS,
    **handmade.VERBS,
    **theirs.VERBS,
    **running.VERBS,
    **room.VERBS,
    **space.VERBS,
    **startup.VERBS,
    **modelfiles.VERBS,
    **modelpath.VERBS,
    **handmade_rows.VERBS,
    **shellvars.VERBS,
    "patience": _patience,
}


def propose(facts: Facts, finding: Finding, before: Change | None = None) -> Change | None:
    """What the finding's repair would change; None when it has none, or when it cannot be done here. Nothing is done.

    Of several ways, parted by `||`, it is the first that can be gone. Raises ImpossibleError where there is one, and what it
    needs is not to be had now. What is done `before` is a part of it.
    """
    impossible: ImpossibleError | None = None
    for steps in _ways(finding.fix):
        try:
            change = _way(facts, finding, steps, before or Change(""))
        except ImpossibleError as error:
            impossible = impossible or error
            continue
        if change is not None:
            return change
    if impossible is not None:
        raise impossible
    return None


def _way(facts: Facts, finding: Finding, steps: list[list[str]], change: Change) -> Change | None:
    if not steps:
        return None
    for name, *words in steps:
        try:
            step = NAMES[name](Here(facts, finding, change), *words)
        except ImpossibleError:
            raise
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, StackError, yaml.YAMLError):
            return None  # a file of another shape than was expected is its owner's to repair
        if step is None:
            return None
        change += step
    return change or None


def _ways(fix: str) -> list[list[list[str]]]:
    """The words of each step of each way. A word may hold what a log said, `&&` included: it is quoted."""
    ways: list[list[list[str]]] = [[[]]]
    for word in shlex.split(fix):
        if word == "||":
            ways.append([[]])
        elif word == "&&":
            ways[-1].append([])
        else:
            ways[-1][-1].append(word)
    return [[step for step in way if step] for way in ways]
