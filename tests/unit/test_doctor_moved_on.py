"""A stack that is stopped or restarted while doctor looks at it is looked at once more, and not called broken."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from stackctl import files, identity, runstate
from stackctl.checks.check import Check, Hop
from stackctl.checks.facts import Facts
from stackctl.checks.runner import Ran
from stackctl.commands import doctor
from stackctl.commands.doctor_request import Request
from stackctl.config import Flags
from stackctl.model import Finding, ServiceKind, State, Status
from stackctl.paths import StackPaths
from stackctl.runstate import ServiceRecord, StackState

if TYPE_CHECKING:
    from pathlib import Path

    from stackctl.identity import Identity


def record(me: Identity | None, state: State = State.READY, *, leads: bool = True) -> StackState:
    service = ServiceRecord("engine", ServiceKind.ENGINE, state, 4000, "x.log", leader=me if leads else None)
    boot, host = identity.boot_id(), os.uname().nodename
    return StackState("default", "d", "http://127.0.0.1:1", me, state, services=[service], boot_id=boot, hostname=host)


@pytest.mark.parametrize(
    ("now", "times"),
    [
        ({}, 1),
        ({"state": State.STOPPING}, 2),
        ({"leads": False}, 2),
        (None, 2),
    ],
    ids=["as it was", "stopping", "restarted", "gone"],
)
def test_what_changed_meanwhile_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: dict[str, object] | None, times: int
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path))
    paths = StackPaths("default")
    files.private_dir(paths.root)
    me = identity.mine()
    if now is not None:
        runstate.write(paths, record(me, **now))  # type: ignore[arg-type]
    seen = Facts({}, "/", "/", Flags(), True, paths=paths, state=record(me), running=True)
    check = Check("a", Hop.ENGINE, "", lambda _: [])
    looked: list[Request] = []

    def look(request: Request) -> tuple[Facts, tuple[Ran, ...]]:
        looked.append(request)
        return seen, (Ran(check, (Finding("engine.refused", Status.FAIL),)),)

    monkeypatch.setattr(doctor, "_look", look)
    doctor.examine(Request(Flags()))
    assert len(looked) == times
    looked.clear()
    seen = replace(seen, running=False)
    doctor.examine(Request(Flags()))
    assert len(looked) == 1
