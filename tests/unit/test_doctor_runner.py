"""Checks run side by side: one that hangs, breaks or fails stops only those that need it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from stackctl.checks import answers, live, runner
from stackctl.checks.check import Check, Hop
from stackctl.checks.endpoints import Endpoint, Lane
from stackctl.checks.facts import Facts
from stackctl.config import Flags
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FACTS = Facts(environ={}, home="/", cwd="/", flags=Flags(), static=True)


def check(name: str, run: Callable[[Facts], Iterable[Finding]], *needs: str, seconds: float = 30) -> Check:
    return Check(name, Hop.ENGINE, "", run, needs, seconds=seconds)


def fine(_: Facts) -> list[Finding]:
    return []


def says(status: Status, *, blocks: bool = True) -> Callable[[Facts], list[Finding]]:
    return lambda _: [Finding("cause", status, blocks=blocks)]


def broken(_: Facts) -> list[Finding]:
    raise ValueError("oops")


def statuses(*checks: Check, budget: float = 60) -> list[tuple[str, Status]]:
    return [(each.id, each.status) for each in runner.run(checks, FACTS, budget=budget)]


def test_a_check_with_nothing_to_say_is_fine_and_the_order_is_kept() -> None:
    found = runner.run((check("b", fine), check("a", fine)), FACTS, budget=60)
    assert [(each.id, each.status, each.hop) for each in found] == [("b", "ok", "engine"), ("a", "ok", "engine")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (says(Status.FAIL), Status.SKIPPED),
        (says(Status.SKIPPED), Status.SKIPPED),
        (says(Status.WARN), Status.SKIPPED),
        (says(Status.WARN, blocks=False), Status.OK),
        (fine, Status.OK),
    ],
)
def test_what_needs_a_failed_check_is_skipped_and_says_so(
    first: Callable[[Facts], Iterable[Finding]], second: Status
) -> None:
    found = runner.run((check("late", fine, "early"), check("early", first)), FACTS, budget=60)
    assert found[0].status is second
    assert found[0].cause == ("needs early" if second is Status.SKIPPED else "")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (says(Status.FAIL), Status.SKIPPED),
        (says(Status.SKIPPED), Status.OK),
        (says(Status.WARN), Status.OK),
        (fine, Status.OK),
    ],
)
def test_what_a_nearer_check_says_already_is_not_said_again(
    first: Callable[[Facts], Iterable[Finding]], second: Status
) -> None:
    farther = Check("farther", Hop.ENGINE, "", fine, unless=("nearer",))
    assert statuses(farther, check("nearer", first))[0] == ("farther", second)


def test_skipping_goes_on_down_the_chain() -> None:
    chain = (check("c", fine, "b"), check("b", fine, "a"), check("a", says(Status.FAIL)))
    assert statuses(*chain) == [("c", Status.SKIPPED), ("b", Status.SKIPPED), ("cause", Status.FAIL)]


def test_a_check_that_breaks_is_a_finding_and_the_rest_goes_on() -> None:
    found = runner.run((check("bad", broken), check("good", fine)), FACTS, budget=60)
    assert (found[0].id, found[0].status, found[0].evidence) == ("doctor.broken", Status.WARN, ("ValueError: oops",))
    assert "bad" in found[0].cause
    assert found[1].status is Status.OK


def test_a_check_that_hangs_is_given_up_at_its_own_deadline() -> None:
    never = threading.Event()

    def hang(_: Facts) -> list[Finding]:
        never.wait()
        return []

    began = time.monotonic()
    found = statuses(check("hangs", hang, seconds=0.2), check("good", fine), check("after", fine, "hangs"))
    assert found == [("doctor.slow", Status.WARN), ("good", Status.OK), ("after", Status.SKIPPED)]
    assert time.monotonic() - began < 30
    assert statuses(check("hangs", hang), budget=0.2) == [("doctor.slow", Status.WARN)]
    never.set()


def test_checks_run_side_by_side() -> None:
    both = threading.Barrier(2)

    def meet(_: Facts) -> list[Finding]:
        both.wait(20)
        return []

    assert statuses(check("one", meet), check("two", meet)) == [("one", Status.OK), ("two", Status.OK)]


def test_more_checks_than_run_at_a_time_all_run() -> None:
    assert len(statuses(*(check(f"c{number}", fine) for number in range(40)))) == 40


def test_needs_in_a_circle_and_needs_that_are_not_there_end() -> None:
    assert statuses(check("a", fine, "b"), check("b", fine, "a"), check("c", fine, "none")) == [
        ("a", Status.SKIPPED),
        ("b", Status.SKIPPED),
        ("c", Status.OK),
    ]


def test_answers_fill_in_words_and_know_their_hop() -> None:
    found = answers.finding("doctor.slow", Status.WARN, ("proof",), check="x", seconds="1.0")
    assert found.hop == "machine"
    assert found.docs == "doctor-slow"
    assert "x" in found.cause
    with pytest.raises(KeyError):
        answers.finding("doctor.slow", Status.WARN)
    with pytest.raises(KeyError):
        answers.finding("doctor.nothing", Status.WARN)


def test_what_two_checks_find_alike_is_said_once() -> None:
    def one(_: Facts) -> list[Finding]:
        return [Finding("x", Status.FAIL, "the same")]

    def other(_: Facts) -> list[Finding]:
        return [Finding("x", Status.FAIL, "another")]

    found = runner.run((check("a", one), check("b", one), check("c", other)), FACTS, budget=60)
    assert [each.status for each in found] == [Status.FAIL, Status.SKIPPED, Status.FAIL]


def test_a_check_that_is_listed_twice_is_run_once() -> None:
    ran: list[str] = []

    def once(_: Facts) -> list[Finding]:
        ran.append("a")
        return []

    assert statuses(check("a", once), check("a", once)) == [("a", Status.OK)]
    assert ran == ["a"]


def test_rows_that_lead_to_one_engine_have_no_check_twice_while_no_gateway_runs() -> None:
    ends = [Endpoint("engine", name, "http://127.0.0.1:9", "m", served="m") for name in ("a", "b")]
    facts = Facts({}, "/", "/", Flags(), static=False, lanes=tuple(Lane(each.name, each, None) for each in ends))
    names = [each.id for each in live.checks(facts)]
    assert len(names) == len(set(names))
    assert "client@engine:a" in names


def test_what_a_terminal_would_obey_is_written_out_on_one_line() -> None:
    name = "a\x1b]0;PWN\x07\x1b[2J\u202eb\nc"
    made = Finding("x", Status.FAIL, name, (name, "plain"), f"set {name}")
    (found,) = runner.run((check("a", lambda _: [made]),), FACTS, budget=60)
    shown = r"a\x1b]0;PWN\x07\x1b[2J\u202eb c"
    assert (found.cause, found.evidence, found.remedy) == (shown, (shown, "plain"), f"set {shown}")
