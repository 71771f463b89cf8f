"""What doctor says of the services' processes: this process stands for the service, a socket of its own for the port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from stackctl import files, identity, runstate, transitions
from stackctl.checks import facts as gathered
from stackctl.checks import processes
from stackctl.checks.facts import Facts
from stackctl.config import Flags
from stackctl.model import ServiceKind, State
from stackctl.paths import StackPaths
from stackctl.runstate import ServiceRecord, StackState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def port() -> Iterator[int]:
    """One that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def said(service: ServiceRecord) -> list[str]:
    """The ids of what is said against an engine."""
    facts = Facts(
        environ={}, home="/", cwd="/", flags=Flags(), static=True, running=True,
        state=StackState("default", "", "", None, services=[service]),
    )  # fmt: skip
    return [each.id for each in processes.service(ServiceKind.ENGINE)(facts)]


def engine(port: int, state: State, **more: object) -> ServiceRecord:
    return ServiceRecord("engine", ServiceKind.ENGINE, state, port, "x.log", leader=identity.mine(), **more)  # type: ignore[arg-type]


def test_deaths_are_counted_and_restarts_that_somebody_asked_for_are_none(port: int) -> None:
    assert said(engine(port, State.READY, restarts=3)) == ["engine.restarts"]
    assert said(engine(port, State.READY, restarts=3, requested=3)) == []
    assert said(engine(port, State.READY, restarts=4, requested=2)) == []
    assert said(engine(port, State.READY, restarts=5, requested=2)) == ["engine.restarts"]


def test_while_a_restart_that_somebody_asked_for_goes_on_the_service_starts_and_did_not_die(port: int) -> None:
    dying = engine(port, State.RESTARTING, detail="it was killed by signal 9")
    asked = engine(port, State.RESTARTING, detail=f"{transitions.REQUESTED}; the driver was updated")
    assert (said(dying), said(asked)) == (["engine.restarting"], ["engine.starting"])


def test_a_supervisor_that_is_stopped_is_named(tmp_path: Path) -> None:
    asleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(asleep) as process:
        try:
            who = identity.of(process.pid)
            assert (who is not None, _supervised(tmp_path, who)) == (True, [])
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            assert _supervised(tmp_path, who) == ["engine.supervisor-stopped"]
        finally:
            process.kill()


def _supervised(home: Path, who: identity.Identity | None) -> list[str]:
    seen = Facts(
        environ={}, home=str(home), cwd="/", flags=Flags(), static=True, running=True, paths=StackPaths("default"),
        state=StackState("default", "", "", who),
    )  # fmt: skip
    return [each.id for each in processes.supervised(seen)]


def test_a_record_that_its_supervisor_writes_anew_is_not_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    paths = StackPaths("default")
    files.private_dir(paths.root)
    runstate.write(paths, StackState("default", "", "http://127.0.0.1:1", None))
    whole = tmp_path / "state/stacks/default/state.json"
    content = whole.read_text()
    whole.write_text(content[:40])

    def gather() -> gathered.Facts:
        return gathered.gather(Flags(), environ={"HOME": str(tmp_path)}, static=True)

    assert gather().state_error is not None  # nobody is there who would
    lock = runstate.Lock(paths)
    assert lock.take()
    try:
        monkeypatch.setattr(gathered, "_HEALS", 0.0)
        assert gather().state_error is not None  # who holds the lock does not either
        monkeypatch.setattr(gathered, "_HEALS", 60.0)
        healer = threading.Timer(0.2, lambda: runstate.write(paths, StackState.from_json(json.loads(content))))
        healer.start()
        seen = gather()
        healer.join()
        assert (seen.state_error, seen.state and seen.state.gateway_url) == (None, "http://127.0.0.1:1")
    finally:
        lock.release()
