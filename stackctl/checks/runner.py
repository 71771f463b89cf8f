"""Run checks side by side: each with a deadline, in the order of what they need; none stops the rest."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl import redact
from stackctl.checks import answers, commands
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stackctl.checks.check import Check
    from stackctl.checks.facts import Facts

_WIDTH = 8  # checks at a time: the probes among them only wait


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one check, and how long it took in seconds."""

    check: Check
    findings: tuple[Finding, ...]
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether something is broken."""
        return any(each.status is Status.FAIL for each in self.findings)

    @property
    def blocks(self) -> bool:
        """Whether a check that needs this one would only say the same again, or cannot be asked."""
        return any(
            each.status in {Status.FAIL, Status.SKIPPED} or (each.status is Status.WARN and each.blocks)
            for each in self.findings
        )


def run(checks: Iterable[Check], facts: Facts, *, budget: float) -> tuple[Finding, ...]:
    """The findings of all checks in their order; a check with nothing to say gives one that is OK.

    `budget` is the time in seconds for all of them together.
    """
    return tuple(finding for each in run_all(checks, facts, budget=budget) for finding in each.findings)


def run_all(checks: Iterable[Check], facts: Facts, *, budget: float) -> tuple[Ran, ...]:
    """`run`, check by check. Needs that are not among `checks` count as met."""
    order = list({each.id: each for each in checks}.values())  # what is listed twice is asked once
    return _Run(order, facts, time.monotonic() + budget).all()


class _Run:
    """One run: `_done` is guarded by `_changed`; the threads are daemons, so that a hung one holds nobody up."""

    def __init__(self, order: Sequence[Check], facts: Facts, deadline: float) -> None:
        self._order = order
        self._facts = facts
        self._deadline = deadline
        self._done: dict[str, Ran] = {}
        self._began: dict[str, float] = {}
        self._changed = threading.Condition()

    def all(self) -> tuple[Ran, ...]:
        with self._changed:
            while len(self._done) < len(self._order):
                self._give_up()
                self._start()
                if len(self._done) < len(self._order):
                    self._changed.wait(self._until_next())
        return _once(self._done[each.id] for each in self._order)

    def _start(self) -> None:
        """Start what can be: its needs are met and there is room. What cannot be any more is skipped."""
        known = {each.id for each in self._order}
        again = True
        while again:
            again = False
            for check in self._order:
                if check.id in self._began or check.id in self._done:
                    continue
                needs = [each for each in (*check.needs, *check.unless) if each in known and each != check.id]
                missing = next((each for each in needs if each in self._done and self._spares(check, each)), None)
                if missing is not None:
                    self._done[check.id] = Ran(check, (_skipped(check, f"needs {missing}"),))
                    again = True
                elif all(each in self._done for each in needs) and self._running() < _WIDTH:
                    self._began[check.id] = time.monotonic()
                    threading.Thread(target=self._one, args=(check,), name=check.id, daemon=True).start()
            if not self._running() and not again and len(self._done) < len(self._order):
                for check in self._order:  # they need each other in a circle
                    self._done.setdefault(check.id, Ran(check, (_skipped(check, "its needs are never met"),)))

    def _spares(self, check: Check, other: str) -> bool:
        """Whether a check is left out for what came of another."""
        ran = self._done[other]
        return ran.blocks if other in check.needs else ran.failed

    def _one(self, check: Check) -> None:
        try:
            found = tuple(self._sayable(each, check) for each in check.run(self._facts))
        except Exception as error:  # noqa: BLE001 - a check that breaks is a finding, and stops nothing
            found = (_broken(check, error),)
        with self._changed:
            began = self._began[check.id]
            found = found or (Finding(check.id, Status.OK, hop=check.hop),)
            self._done.setdefault(check.id, Ran(check, found, time.monotonic() - began))
            self._changed.notify()

    def _sayable(self, found: Finding, check: Check) -> Finding:
        """The finding as it may be shown: its commands to be typed as they stand, on one line, and no key or password in it."""
        hide = redact.hidden(self._facts.secrets)
        found = commands.typed(found, self._facts, check.id)

        def said(text: str) -> str:
            return redact.printable(hide(text))

        return dataclasses.replace(
            found, cause=said(found.cause), evidence=tuple(map(said, found.evidence)), remedy=said(found.remedy)
        )

    def _give_up(self) -> None:
        """Settle the checks whose time is over, and all of them when the whole time is."""
        now = time.monotonic()
        for check in self._order:
            if check.id in self._done:
                continue
            began = self._began.get(check.id)
            if began is not None and (now >= began + check.seconds or now >= self._deadline):
                self._done[check.id] = Ran(check, (_slow(check, now - began),), now - began)
            elif began is None and now >= self._deadline:
                self._done[check.id] = Ran(check, (_skipped(check, "there was no time left for it"),))

    def _until_next(self) -> float:
        ends = [
            self._began[each.id] + each.seconds
            for each in self._order
            if each.id in self._began and each.id not in self._done
        ]
        return max(0.0, min([self._deadline, *ends]) - time.monotonic())

    def _running(self) -> int:
        return sum(each not in self._done for each in self._began)


def _once(every: Iterable[Ran]) -> tuple[Ran, ...]:
    """What two checks found alike (two routes to one gateway) is said once."""
    said: set[tuple[str, str]] = set()
    found = []
    for ran in every:
        kept = []
        for each in ran.findings:
            twice = each.bad and (each.id, each.cause) in said
            said.add((each.id, each.cause))
            kept.append(Finding(each.id, Status.SKIPPED, "needs no second word", hop=each.hop) if twice else each)
        found.append(dataclasses.replace(ran, findings=tuple(kept)))
    return tuple(found)


def _skipped(check: Check, why: str) -> Finding:
    return Finding(check.id, Status.SKIPPED, why, hop=check.hop)


def _broken(check: Check, error: Exception) -> Finding:
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    name = "doctor.broken"
    found = answers.finding(name, Status.WARN, (said[:300],), blocks=False, check=check.id)
    return _at(found, check)


def _slow(check: Check, seconds: float) -> Finding:
    name = "doctor.slow"
    return _at(answers.finding(name, Status.WARN, check=check.id, seconds=f"{seconds:.1f}"), check)


def _at(found: Finding, check: Check) -> Finding:
    return dataclasses.replace(found, hop=check.hop)
