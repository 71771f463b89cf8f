"""Drills: what can heal heals by itself, what cannot says why, and the slow or the busy are left alone."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from stackctl import identity
from tests.drills.harness import PATIENCE, Stack, engine, gateway, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.drill


def test_engine_core_killed(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    core = stack.tree("engine")[1]
    began = time.monotonic()
    identity.send(core, signal.SIGKILL)
    stack.saw("ServiceChanged", 8, name="engine", state="restarting")
    took = time.monotonic() - began
    assert "status 503" in stack.find("ServiceChanged", name="engine", state="restarting")[0]["detail"]
    stack.saw("ServiceChanged", 10, name="engine", state="ready", times=2)
    assert stack.find("ServiceChanged", name="gateway", state="restarting") == []
    print(f"drill 5: restart begun after {took:.1f} s")


def test_api_server_frozen(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    leader = stack.tree("engine")[0]
    began = time.monotonic()
    identity.send(leader, signal.SIGSTOP)
    stack.saw("ServiceChanged", 15, name="engine", state="unready")
    unready = time.monotonic() - began
    stack.saw("ServiceChanged", 20, name="engine", state="ready", times=2)
    took = time.monotonic() - began
    assert took <= 20 * PATIENCE
    assert stack.ask("engine", "/work", "POST").ok
    print(f"drill 6: unready after {unready:.1f} s, healed after {took:.1f} s")


def test_engine_core_frozen_behind_a_healthy_health(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    core = stack.tree("engine")[1]
    identity.send(core, signal.SIGSTOP)
    assert stack.ask("engine").ok
    took = stack.saw("ServiceChanged", 30, name="engine", state="restarting")
    assert "SIGSTOP" in stack.find("ServiceChanged", name="engine", state="restarting")[0]["detail"]
    stack.saw("ServiceChanged", 15, name="engine", state="ready", times=2)
    assert stack.ask("engine", "/work", "POST").ok
    print(f"drill 7: stopped: detected after {took:.1f} s")


def test_accepts_but_never_answers(up: Callable[..., Stack], tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    stack = up(engine("--mute-after", "1", "--armed-by", str(armed)), gateway()).ready()
    armed.touch()
    until(lambda: stack.ask("engine", timeout=0.5).timed_out, 10, "it has gone mute")
    took = stack.saw("ServiceChanged", 15, name="engine", state="unready")
    print(f"drill 18: unready after {took:.1f} s")


def test_a_busy_engine_with_slow_health_is_left_alone(up: Callable[..., Stack], tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    stack = up(engine("--mute-after", "1", "--armed-by", str(armed), "--busy"), gateway(), hang_after=4.0).ready()
    armed.touch()
    stack.saw("ServiceChanged", 20, name="engine", state="unready")
    time.sleep(10)  # nothing must happen: there is no condition to wait for
    assert stack.find("ServiceChanged", name="engine", state="restarting") == []


def test_a_crash_loop_stops_and_says_why(up: Callable[..., Stack], tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    crashing = "--run-for", "0.6", "--crash-code", "9", "--armed-by", str(armed)
    stack = up(engine(*crashing), gateway(), backoff=0.5).ready()
    armed.touch()
    began = time.monotonic()
    stack.saw("ServiceChanged", 40, name="engine", state="failed")
    starts = len(stack.find("ServiceChanged", name="engine", state="starting"))
    assert starts <= 5
    assert stack.find("ServiceChanged", name="engine", state="failed")[0]["detail"] == (
        "given up after 5 starts: it ended with exit code 9"
    )
    until(lambda: stack.state().failure is not None, 5, "the failure is written down")
    failure = stack.state().failure
    assert failure is not None
    assert failure["service"] == "engine"
    assert stack.state().state == "failed"
    assert stack.ask("gateway").ok  # it stays up
    time.sleep(3)
    assert len(stack.find("ServiceChanged", name="engine", state="starting")) == starts
    print(f"drill 8: {starts} starts in {time.monotonic() - began:.0f} s, then stopped")


def test_supervisor_frozen_beside_a_chatty_service(up: Callable[..., Stack]) -> None:
    stack = up(engine("--chatty"), gateway()).ready()
    stack.signal(signal.SIGSTOP)
    until_then = time.monotonic() + 12
    asked = answered = 0
    while time.monotonic() < until_then or asked <= 50:
        asked += 1
        answered += stack.ask("engine", "/work", "POST").ok
        time.sleep(0.1)
    stack.signal(signal.SIGCONT)
    assert answered == asked
    time.sleep(3)
    assert stack.record("engine").restarts == 0
    print(f"drill 9: {answered}/{asked} answered")


def _freeze_all(stack: Stack, seconds: float) -> None:
    everyone = [*stack.remember(), identity.Identity(stack.popen.pid, 0, "")]
    for signum in (signal.SIGSTOP, signal.SIGCONT):
        for each in everyone:
            os.kill(each.pid, signum)
        time.sleep(seconds if signum == signal.SIGSTOP else 0)


def test_the_whole_stack_stopped_and_continued(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway(), hang_after=4.0).ready()
    _freeze_all(stack, 15)
    time.sleep(6)
    assert [each.restarts for each in stack.state().services] == [0, 0]
    assert stack.state().state == "ready"


@pytest.mark.slow
def test_the_whole_stack_stopped_for_a_minute(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    _freeze_all(stack, 60)
    time.sleep(20)
    assert [each.restarts for each in stack.state().services] == [0, 0]
    print("drill 24: 0 restarts")


def test_the_gateway_stays_up_while_the_engine_restarts(up: Callable[..., Stack]) -> None:
    stack = up(engine("--load", "1"), gateway()).ready()
    answers: list[bool] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            answers.append(stack.ask("gateway").ok)

    thread = threading.Thread(target=ask)
    thread.start()
    identity.send(stack.tree("engine")[0], signal.SIGKILL)
    stack.saw("ServiceChanged", 20, name="engine", state="ready", times=2)
    until(lambda: len(answers) > 10, 10, "it was asked all the while")
    done.set()
    thread.join()
    assert all(answers)


def test_a_full_pipe_of_connections_is_no_reason_to_restart(up: Callable[..., Stack]) -> None:
    """A hundred idle connections: health is still answered, nothing is restarted."""
    stack = up(engine(), gateway()).ready()
    port = stack.services[0]["port"]
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    time.sleep(5)
    for each in idle:
        each.close()
    assert stack.record("engine").restarts == 0


def test_idle_cost(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    guards = [each.guard.pid for each in stack.state().services if each.guard is not None]
    ours = [stack.popen.pid, *guards]
    time.sleep(2)

    def cpu() -> float:
        rows = [row for pid in ours if (row := identity.row(pid)) is not None]
        assert len(rows) == 3
        return sum(row.cpu_ticks for row in rows) / os.sysconf("SC_CLK_TCK")

    before = cpu()
    time.sleep(20)
    share = (cpu() - before) / 20
    resident = 0
    for pid in ours:
        with open(f"/proc/{pid}/status") as status:
            resident += next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    print(f"drill 25: {resident / 1024:.1f} MB, {100 * share:.2f} % of a core")
    assert resident <= 50 * 1024
    assert share <= 0.005
