"""The verdict: one cause, that of the first part of the chain that fails."""

from __future__ import annotations

from stackctl.checks import facts, verdict
from stackctl.checks.endpoints import Endpoint, Lane
from stackctl.config import Flags
from stackctl.model import Finding, Status


def seen(**more: object) -> facts.Facts:
    given = {"environ": {}, "home": "/", "cwd": "/", "flags": Flags(), "static": False, "running": True}
    return facts.Facts(**(given | more))  # type: ignore[arg-type]


def found(status: Status, hop: str, cause: str) -> Finding:
    return Finding("an.id", status, cause, hop=hop)


def test_the_first_hop_that_fails_is_the_verdict_whatever_the_order() -> None:
    findings = [
        found(Status.WARN, "machine", "little memory"),
        found(Status.FAIL, "gateway", "no key"),
        found(Status.FAIL, "engine", "frozen"),
        found(Status.OK, "client", ""),
    ]
    assert verdict.sentence(findings, seen()) == "frozen"


def test_a_warning_is_no_failure() -> None:
    answers = Finding("answers@engine:main", Status.OK, hop="engine")
    old = found(Status.WARN, "client", "an old version")
    assert verdict.sentence([answers, old], seen()) == "works, but an old version"
    assert verdict.sentence([old], seen()) == "nothing was found broken, but an old version"  # nobody answered anything


def test_what_is_fine_says_how_much_was_asked() -> None:
    assert verdict.sentence([], seen()) == "everything works"
    assert verdict.sentence([], seen(static=True)) == "nothing wrong was found without asking anything (--static)"
    assert "is not running" in verdict.sentence([], seen(running=False))
    late = Finding("doctor.no-time", Status.SKIPPED)
    warned = found(Status.WARN, "client", "an old version")
    assert verdict.sentence([warned, late], seen()) == "nothing was found broken, but an old version"
    assert verdict.sentence([warned], seen(static=True)) == "nothing was found broken, but an old version"
    down = "the stack is not running and nothing stands in the way of a start, but an old version"
    assert verdict.sentence([warned], seen(running=False)) == down
    assert "not everything was asked" in verdict.sentence([late], seen())
    smoke = Finding("behaviour.embedded", Status.SKIPPED)
    assert verdict.sentence([smoke], seen()) == "everything works; tool calls: not expected of this model"
    lane = Lane("a", Endpoint("engine", "a", "http://127.0.0.1:1", "a"), None)
    assert "LiteLLM itself was not asked" in verdict.sentence([], seen(hand_file="x.yaml", lanes=(lane,)))
