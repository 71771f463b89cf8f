"""One fault tried: set up, asked, judged, repaired, healed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from tests.faults import recipes

if TYPE_CHECKING:
    from tests.faults.case import Case, Report
    from tests.faults.corpus import Fault
    from tests.faults.stage import Stage


NOT_READ = "gateway.file-newer"


class Verdict(msgspec.Struct, kw_only=True):
    """How doctor did: `extra` are the further ids that were blamed, `repaired` is None where no repair is expected; `left`
    is what was still wrong after one.
    """

    id: str
    kind: str
    first: str = ""
    right: bool = False
    hop: bool = False
    extra: list[str] = []
    seconds: float = 0.0
    repaired: bool | None = None
    left: list[str] = []
    said: str = ""
    error: str = ""
    took: float = 0.0


def judge(stage: Stage, fault: Fault) -> Verdict:
    """Try one fault. What breaks in the trying itself is in `error`, and counts as not found."""
    began = time.monotonic()
    verdict = Verdict(id=fault.id, kind=fault.kind)
    try:
        case = stage.case(fault)
        with case.after:
            broken(case, fault)
            static = ("--static",) if fault.kind == "static" else ()
            report = case.doctor(*static)
            _judge(verdict, fault, report)
            if fault.fix and verdict.right:
                verdict.left = _left(case, fault, static)
                verdict.repaired = not verdict.left
    except (AssertionError, OSError, KeyError, IndexError, ValueError, RuntimeError, StopIteration) as error:
        verdict.error = f"{type(error).__name__}: {error}"[-600:]
    except Exception as error:  # noqa: BLE001 - one fault must not end the run
        verdict.error = f"{type(error).__name__}: {error}"[-600:]
    verdict.took = round(time.monotonic() - began, 1)
    return verdict


def broken(case: Case, fault: Fault) -> None:
    """Break the healthy case as the row says."""
    for path, text in fault.write.items():
        file = case.fill(path)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(case.fill(text))
    case.env |= {name: case.fill(value) for name, value in fault.env.items()}
    case.args += [case.fill(each) for each in fault.args]
    if fault.do:
        getattr(recipes, fault.do)(case, fault.given)


def _judge(verdict: Verdict, fault: Fault, report: Report) -> None:
    blamed = report.of("fail") if fault.level == "fail" else report.of("fail", "warn")
    first = report.first
    verdict.seconds = round(report.seconds, 2)
    verdict.said = report.verdict
    if first is None:
        return
    verdict.first = first["id"]
    verdict.right = first["id"] in fault.expect and (first["status"] == "fail" or fault.level == "warn")
    verdict.hop = first["hop"] == fault.hop
    verdict.extra = [each["id"] for each in blamed if each["id"] not in fault.expect]


def _left(case: Case, fault: Fault, static: tuple[str, ...]) -> list[str]:
    """What is still wrong after `--fix --yes`: the finding, a failure that it brought, or what must be true then.

    Where doctor says of just one thing that it is left to do, to start the user's own server again, that is done.
    """
    if fault.shell:
        case.evaluate(*static)
        after = case.doctor(*static)
    else:
        after = case.doctor("--fix", "--yes", *static)
    if case.again is not None and [each["id"] for each in after.of("fail", "warn")] == [NOT_READ]:
        case.again()
    after = case.doctor(*static)
    left = [each["id"] for each in after.of("fail")]
    left += [each["id"] for each in after.of("warn") if each["id"] in {*fault.expect, NOT_READ}]
    return left if case.proof() else [*left, "the proof"]
