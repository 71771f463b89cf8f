"""What doctor says of the services' processes: this process stands for the service, a socket of its own for the port."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from stackctl import identity, transitions
from stackctl.checks import processes
from stackctl.checks.facts import Facts
from stackctl.config import Flags
from stackctl.model import ServiceKind, State
from stackctl.runstate import ServiceRecord, StackState

if TYPE_CHECKING:
    from collections.abc import Iterator


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
