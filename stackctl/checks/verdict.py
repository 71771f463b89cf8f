"""What a run of checks comes to: the one cause to begin with, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.checks.check import Hop
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_ORDER = {hop.value: at for at, hop in enumerate(Hop)}


def culprit(findings: Sequence[Finding]) -> Finding | None:
    """The failure to begin with: the first in the order of the hops; without one, the first warning."""
    for status in (Status.FAIL, Status.WARN):
        found = [each for each in findings if each.status is status]
        if found:
            return min(found, key=lambda each: _ORDER.get(each.hop, len(_ORDER)))
    return None


def sentence(findings: Sequence[Finding], facts: Facts) -> str:
    """The verdict line."""
    first = culprit(findings)
    if first is None:
        smoke = any(each.id == "behaviour.embedded" for each in findings)
        if any(each.id == "doctor.no-time" for each in findings):
            return "nothing wrong was found, but not everything was asked: the answers took too long"
        return _fine(facts) + ("; tool calls: not expected of this model" if smoke else "")
    if first.status is Status.WARN:
        return f"{_so_far(findings, facts)}, but {first.cause}"
    return first.cause


def _so_far(findings: Sequence[Finding], facts: Facts) -> str:
    """What is known of a chain with warnings alone: that it works only where all of it was asked."""
    if facts.own and not facts.running:
        return "the stack is not running and nothing stands in the way of a start"
    late = any(each.id == "doctor.no-time" for each in findings)
    answered = any(each.id.startswith("answers@") and each.status is Status.OK for each in findings)
    return "works" if answered and not late and not _file_alone(facts) else "nothing was found broken"


def _file_alone(facts: Facts) -> bool:
    """Whether a hand-written file was looked at, and no LiteLLM that reads it."""
    return facts.hand_file is not None and not any(lane.gateway for lane in facts.lanes)


def _fine(facts: Facts) -> str:
    if facts.own and not facts.running:
        return "nothing stands in the way of a start; the stack is not running"
    if _file_alone(facts):
        return "nothing is wrong with the file; LiteLLM itself was not asked (name its address: --url http://...)"
    if facts.static:
        return "nothing wrong was found without asking anything (--static)"
    return "everything works"
