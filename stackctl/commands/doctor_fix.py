"""`doctor --fix`: each repair is shown, asked for, done, proved by the same checks, and undone where it did not help."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl import output
from stackctl import repair as repairs
from stackctl.checks.check import Hop
from stackctl.commands import doctor_heal, doctor_shell
from stackctl.commands.doctor_stack import Stack
from stackctl.commands.up import end_on_signals
from stackctl.errors import InterruptedByUser, StackError
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackctl.checks.facts import Facts
    from stackctl.checks.runner import Ran
    from stackctl.commands.doctor_request import Request
    from stackctl.model import Finding

    Looked = tuple[Facts, tuple[Ran, ...]]

_BAD = {Status.FAIL, Status.WARN}
_ONE_AT_A_TIME = "configuration.unusable"  # a file is refused for its first error: the next one was there before
_REFUSED = {"configuration.unusable", "configuration.unreadable"}
_HIDES = {"configuration.unreadable"}  # of what cannot be read nothing more was known
_NOT_READ = "gateway.file-newer"  # what stackctl did not start is not its to restart
_OFTEN = 5  # repairs of one kind in a run


@dataclass(frozen=True, slots=True)
class Mended:
    """One repair: the finding it was for, what it did, and how it ended: `repaired`, `undone`, `refused`, `shown` (with
    the line to type as `detail` where it is this shell's variables), `impossible` (what it needs is not to be had now) or
    `pending` (corrected, and a server of the user's must read it).
    """

    finding: str
    says: str
    outcome: str
    detail: str = ""


def mend(look: Callable[[bool], Looked], request: Request) -> list[Mended]:
    """Repair what can be, in the order of blame. `look` examines everything anew (True: without a request).

    Without a terminal and without `--yes` the changes are only shown.
    """
    end_on_signals()
    done: list[Mended] = []
    tried: list[str] = []
    _repair(look, request, done, tried)
    if not done:
        output.note("stackctl: nothing that can be repaired by itself")
    typed = [each.detail for each in done if each.outcome == "shown" and each.detail]
    if typed:
        output.note(
            f"\nno program can change the shell that started it; type, and it is asked and proved there:\n    {typed[0]}"
        )
    return done


def _repair(look: Callable[[bool], Looked], request: Request, done: list[Mended], tried: list[str]) -> None:
    """Repair what can be, first what is found without a request. What heals by itself meanwhile is waited for."""
    held = repairs.Change("")
    static, waits = True, 0
    while True:
        facts, ran = look(static)
        if waits < _OFTEN and doctor_heal.awaited(facts.paths):
            waits += 1
            continue
        found = _next(facts, ran, tried, done, held)
        if found is None and (request.static or not static):
            return
        if found is None:
            static, held = False, repairs.Change("")
            continue
        finding, change = found
        tried.append(_name(finding))
        done.append(_one(finding, change, facts, request, before=ran, look=lambda: look(static)[1]))  # noqa: B023 - used at once
        failed_anew = _of_a_start(finding) and done[-1].outcome == "undone"
        held = change if failed_anew and len(change.edits) < _OFTEN else repairs.Change("")


def _name(finding: Finding) -> str:
    """A file may be refused for one thing after the other; of all else each repair is tried once."""
    return f"{finding.id} {finding.fix} {finding.cause if finding.id == _ONE_AT_A_TIME else ''}"


def _of_a_start(finding: Finding) -> bool:
    """Whether a log says it of a start that failed: such causes come one behind the other, and each hides the next."""
    return finding.id.startswith("log.") and finding.status is Status.FAIL


def _next(
    facts: Facts, ran: Sequence[Ran], tried: list[str], done: list[Mended], held: repairs.Change
) -> tuple[Finding, repairs.Change] | None:
    """The first finding with a repair that was not tried yet: failures go before warnings. `done` hears what cannot be.

    `held` is what was done for a start and undone, since it then failed for another cause: both are repaired together.
    """
    bad = [finding for each in ran for finding in each.findings if finding.status in _BAD and finding.fix]
    for finding in sorted(bad, key=lambda each: each.status is Status.WARN):
        kind = f"{finding.id} {finding.fix} "
        if _name(finding) in tried or sum(each.startswith(kind) for each in tried) >= _OFTEN:
            continue
        try:
            change = repairs.propose(facts, finding, held if _of_a_start(finding) else repairs.Change(""))
        except repairs.ImpossibleError as error:
            output.note(f"\n{finding.id}: {finding.cause}\n    not repaired: {error.message}")
            done.append(Mended(finding.id, "", "impossible", error.message))
            change = None
        if change is not None:
            return finding, change
        tried.append(_name(finding))
    return None


def _one(
    finding: Finding, change: repairs.Change, facts: Facts, request: Request, *, before: Sequence[Ran], look: Callable[[], Sequence[Ran]]
) -> Mended:  # fmt: skip
    """Show, ask, do, look again; undo what did not help."""
    output.note(f"\n{finding.id}: {finding.cause}")
    for line in repairs.shown(change):
        output.note(f"    {line}")
    if change.variables and request.shell is None:
        return Mended(finding.id, change.says, "shown", doctor_shell.typed(request))
    if not request.yes and not output.has_terminal():
        output.note("    (only shown: --yes does it without asking)")
        return Mended(finding.id, change.says, "shown")
    if not request.yes and not output.confirm("Do this?"):
        return Mended(finding.id, change.says, "refused")

    stack = Stack(facts)
    try:
        began = time.monotonic()
        applied = repairs.apply(change, stack.run, lambda at: output.meter("model", at.text, time.monotonic() - began))
    except (KeyboardInterrupt, InterruptedByUser):
        _interrupted(stack)
        raise
    except (StackError, OSError) as error:
        said = error.message if isinstance(error, StackError) else str(error)
        output.warn(f"it could not be done, and is undone: {said}")
        stack.back(change)
        return Mended(finding.id, change.says, "undone", said)
    try:
        after = look()
    except (KeyboardInterrupt, InterruptedByUser):
        applied.undo()
        _interrupted(stack)
        raise
    worse = _worse(finding, change, before, after)
    if worse:
        applied.undo()
        gone = " (what was removed stays so)" if change.removals else ""
        output.warn(f"it did not help, and is undone{gone}: {worse}")
        stack.back(change)
        return Mended(finding.id, change.says, "undone", worse)
    applied.keep()
    for path, copy in applied.backups:
        output.note(f"    {path} was yours: its old text is in {copy}")
    if any(each.id == _NOT_READ for one in after for each in one.findings):
        output.note(
            "    the file is corrected, and nothing in it is refused any more; LiteLLM reads it at its next start"
        )
        return Mended(finding.id, change.says, "pending", "LiteLLM must be started again")
    output.note("    checked again with these set" if change.variables else "    repaired, and checked again")
    return Mended(finding.id, change.says, "repaired")


def _interrupted(stack: Stack) -> None:
    output.warn("it was not proved yet, and is undone")
    stack.interrupted()


def _worse(finding: Finding, change: repairs.Change, before: Sequence[Ran], after: Sequence[Ran]) -> str:
    """Why the repair is not to be kept: its finding is still there, an earlier part of the chain fails now, or the file that
    it wrote is refused. Of what was made whole or could not be read, what is said then was true before.
    """
    known = {(each.id, each.cause) for one in before for each in one.findings}
    now = [each for one in after for each in one.findings if each.status in _BAD]
    if any((each.id, each.cause) == (finding.id, finding.cause) for each in now):
        return f"{finding.id} is still there"
    if change.fetches or change.variables or finding.id in _HIDES:
        return ""
    order = {hop.value: number for number, hop in enumerate(Hop)}
    here = order.get(finding.hop, len(order))
    new = [
        each
        for each in now
        if each.status is Status.FAIL
        and (each.id, each.cause) not in known
        and (order.get(each.hop, len(order)) <= here or (change.edits and each.id in _REFUSED))
        and not each.id == finding.id == _ONE_AT_A_TIME
    ]
    return f"now {new[0].id}: {new[0].cause}" if new else ""
