"""Stacks with nothing wrong: doctor must say nothing against them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.faults.corpus import Fault
from tests.faults.judge import Verdict

if TYPE_CHECKING:
    from tests.faults.stage import Stage

NAMES = ("files", "litellm", "direct", "two", "remote", "hosted", "url", "hand")


def mark(name: str) -> str:
    """What the verdict on a healthy stack goes by."""
    return f"healthy-{name}"


def look(stage: Stage, name: str) -> Verdict:
    """What doctor has against the healthy stack `name`: every failure and warning is `extra`."""
    fault = Fault(id=mark(name), breaks="nothing", kind="live", stack=name, expect=[], hop="")
    verdict = Verdict(id=fault.id, kind="healthy")
    began = time.monotonic()
    try:
        case = stage.case(fault)
        with case.after:
            report = case.doctor(*(("--static",) if name in {"files", "hand-file"} else ()))
            verdict.seconds = round(report.seconds, 2)
            verdict.extra = [f"{each['id']} ({each['status']}: {each['cause']})" for each in report.of("fail", "warn")]
            verdict.right = not verdict.extra
            verdict.said = report.verdict
    except Exception as error:  # noqa: BLE001 - reported as not healthy
        verdict.error = f"{type(error).__name__}: {error}"[-600:]
    verdict.took = round(time.monotonic() - began, 1)
    return verdict
