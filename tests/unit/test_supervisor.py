"""The supervisor over real stand-ins: start, prove, stop; all or nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from stackctl import identity, runstate, survivors
from stackctl.model import ClientFacts, Probe, ProcessSpec, ServiceKind, State
from stackctl.paths import StackPaths
from stackctl.process import guarded
from stackctl.supervisor import Supervisor, stop
from stackctl.supervisor.clocks import gap
from tests.drills.harness import Stack, engine, gateway, stacks, until
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.drill


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stack]]:
    yield from stacks(tmp_path, monkeypatch)


def test_ready_is_written_down_for_others_and_stopping_leaves_nothing(up: Callable[..., Stack]) -> None:
    stack = up(engine("--load", "0.5"), gateway()).ready()
    state = stack.state()
    assert state.state == "ready"
    assert state.client is not None
    assert state.client.window == 4096
    assert state.supervisor == stack.me
    assert runstate.running(stack.paths) is not None
    assert oct(os.stat(stack.paths.state).st_mode & 0o777) == "0o600"
    record = stack.record("engine")
    assert record.leader == stack.tree("engine")[0]
    assert record.guard is not None
    assert identity.alive(record.guard)
    report = stop(stack.paths, timeout=20)
    assert report.was_running
    assert report.clean
    assert stack.left() == []
    assert stack.exit_code() == 0
    stack.no_files_left()
    assert stack.find("ended")[0]["state"] == "stopped"
    assert stack.find("ended")[0]["signum"] == signal.SIGTERM


def test_gateway_is_told_before_the_engine(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    stack.signal(signal.SIGINT)
    stack.exit_code()
    order = [each["name"] for each in stack.find("ServiceChanged", state="stopping")]
    assert order == ["gateway", "engine"]


def test_services_start_side_by_side(up: Callable[..., Stack]) -> None:
    stack = up(engine("--load", "2"), gateway("--load", "2")).ready()
    states = [each["state"] for each in stack.find("ServiceChanged")]
    assert states[:2] == ["starting", "starting"]


def test_one_that_must_let_another_start_first_does(up: Callable[..., Stack]) -> None:
    first, second = engine("--load", "1"), engine(name="second", after=["engine"])
    stack = up(second, first, gateway()).ready()
    changes = [(each["name"], each["state"]) for each in stack.find("ServiceChanged")]
    assert changes.index(("engine", "ready")) < changes.index(("second", "starting"))
    assert changes.index(("gateway", "starting")) < changes.index(("engine", "ready"))


@pytest.mark.parametrize("which", [0, 1])
def test_a_failing_start_takes_everything_down(up: Callable[..., Stack], which: int) -> None:
    services = [engine("--load", "30"), gateway("--load", "30")]
    services[which]["flags"] = ["--load", "0.5", "--fail-load", "7"]
    stack = up(*services)
    until(lambda: stack.find("ServiceChanged", state="starting"), 10, "started")
    stack.remember()
    assert stack.exit_code() == 1
    ended = stack.find("ended")[0]
    assert ended["state"] == "failed"
    assert ended["service"] == services[which]["name"]
    assert ended["exit_code"] == 7
    assert ended["reason"] == "it ended with exit code 7"
    assert ended["tail"][-1] == "RuntimeError: the load failed as ordered"
    assert not ended["oom"]
    assert stack.left() == []
    stack.no_files_left()


def test_the_tail_is_of_this_start_only(up: Callable[..., Stack]) -> None:
    bad = engine("--fail-load", "7")
    paths = StackPaths("default")
    os.makedirs(paths.logs, mode=0o700)
    with open(paths.log("engine"), "w") as log:
        log.write("an older run said this\n")
    stack = up(bad)
    stack.exit_code()
    assert "an older run said this" not in stack.find("ended")[0]["tail"]


def test_a_program_that_is_not_there_fails_the_start(up: Callable[..., Stack]) -> None:
    stack = up(engine(), {**gateway(), "argv": ["/no/such/gateway"]})
    assert stack.exit_code() == 1
    assert stack.find("ended")[0]["reason"] == "cannot start gateway: /no/such/gateway: No such file or directory"
    assert stack.left() == []


def test_no_token_is_not_ready(up: Callable[..., Stack]) -> None:
    stack = up(engine("--no-work"), gateway())
    assert stack.exit_code() == 1
    ended = stack.find("ended")[0]
    assert ended["reason"] == "no token from engine: status 404"
    assert not stack.find("Ready")
    assert stack.left() == []
    stack.no_files_left()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start_stops_everything(up: Callable[..., Stack], signum: int) -> None:
    stack = up(engine("--load", "60"), gateway())
    stack.saw("ServiceChanged", name="gateway", state="ready")
    stack.remember()
    stack.signal(signum)
    assert stack.exit_code(5) == 0
    assert stack.find("ended")[0]["signum"] == signum
    assert stack.left() == []
    stack.no_files_left()


def test_a_second_signal_does_not_wait_for_the_grace(up: Callable[..., Stack]) -> None:
    deaf = ("--ignore-term", "api,core,worker", "--load", "60")
    stack = up(engine(*deaf, grace=30), gateway(*deaf, grace=30))
    until(lambda: len(stack.remember()) == 8, 10, "both trees run")
    stack.signal(signal.SIGINT)
    stack.saw("Stopping", immediate=False)
    began = time.monotonic()
    stack.signal(signal.SIGINT)
    stack.exit_code(15)
    assert time.monotonic() - began < 6  # three times the stated number
    assert stack.left() == []
    stack.no_files_left()


def test_quit_is_immediate(up: Callable[..., Stack]) -> None:
    stack = up(engine("--ignore-term", "api,core,worker", grace=30)).ready()
    began = time.monotonic()
    assert stop(stack.paths, immediate=True, timeout=20).clean
    assert time.monotonic() - began < 6
    assert stack.left() == []


def test_a_second_supervisor_is_refused_and_says_who_has_it(up: Callable[..., Stack]) -> None:
    first = up(engine()).ready()
    second = up(engine())
    assert second.exit_code() == 1
    assert second.find("error", type="AlreadyRunning")
    assert str(first.popen.pid) in second.find("error")[0]["message"]
    assert first.ask("engine").ok


def test_a_squatter_that_answers_200_is_never_called_ready(up: Callable[..., Stack]) -> None:
    squatted = engine()
    code = (
        "import http.server, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "    def log_message(self, *a): pass\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()"
    )
    squatter = subprocess.Popen([sys.executable, "-I", "-c", code, str(squatted["port"])])
    try:
        until(lambda: _answers(squatted["port"]), 10, "the squatter answers")
        squatted["flags"] = ["--leave-port", str(free_port())]  # as LiteLLM does when its port is taken
        stack = up(squatted)
        assert stack.exit_code(20) == 1
        assert not stack.find("ServiceChanged", state="ready")
        reason = stack.find("ended")[0]["reason"]
        assert f"port {squatted['port']} is held by" in reason
        assert f"(pid {squatter.pid})" in reason
        assert stack.left() == []
        assert squatter.poll() is None
        print("drill 12: never called ready, the holder is named")
    finally:
        squatter.kill()
        squatter.wait()


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_a_load_longer_than_the_timeout_is_not_killed_while_it_progresses(up: Callable[..., Stack]) -> None:
    stack = up(engine("--load", "7", start_timeout=3), gateway("--load", "7", "--load-how", "cpu", start_timeout=3))
    stack.ready(20)
    print("drill 16: 7 s of load at a timeout of 3 s: ready")


def test_a_load_that_stalls_fails_and_says_why(up: Callable[..., Stack]) -> None:
    stack = up(engine("--load", "60", "--load-how", "silent", start_timeout=3))
    began = time.monotonic()
    assert stack.exit_code(25) == 1
    took = time.monotonic() - began
    assert 3 < took < 24  # timeout + 5 s, three times
    assert "no progress for 3 s" in stack.find("ended")[0]["reason"]
    assert stack.left() == []
    print(f"drill 17: a timeout of 3 s: failed after {took:.1f} s, with the cause")


def test_the_supervisor_is_small_and_idle(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    guards = [each.guard.pid for each in stack.state().services if each.guard is not None]
    resident = 0
    for pid in [stack.popen.pid, *guards]:
        with open(f"/proc/{pid}/status") as status:
            resident += next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    assert len(guards) == 2
    assert resident <= 50 * 1024


def test_a_guard_killed_before_its_first_word_leaves_no_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a hundred rounds of random killing: the service ran, and nobody had been told its pid."""
    guard = tmp_path / "guard.py"
    guard.write_text(
        "import os, sys\nos.posix_spawnp(sys.argv[4], sys.argv[4:], os.environ, setpgroup=0)\nos.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setattr(guarded, "PROGRAM", str(guard))
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    paths = StackPaths("default")
    spec = ProcessSpec(
        "engine", ServiceKind.ENGINE, ("/bin/sleep", "60"), {"PATH": os.environ["PATH"]}, str(tmp_path),
        paths.log("engine"), "127.0.0.1", 1, Probe("http://127.0.0.1:1/"),
    )  # fmt: skip

    def never() -> ClientFacts:
        raise AssertionError

    ended = Supervisor(paths, "d", [spec], gateway_url="", on_event=lambda _event: None, verify=never).run()
    assert ended.state is State.FAILED
    assert "its guard did not start" in ended.reason
    assert survivors.find(mark=runstate.mark_of(paths), log=os.path.realpath(paths.logs) + os.sep) == []
    assert sorted(os.listdir(paths.root)) == ["lock", "logs"]


@pytest.mark.parametrize(
    ("ran", "passed", "slept"),
    [
        pytest.param(1.0, 1.0, False, id="an ordinary second"),
        pytest.param(1.0, 1.2, False, id="a little drift"),
        pytest.param(1.0, 28_800.0, True, id="a night in suspend"),
        pytest.param(0.0, 3.0, True, id="a nap"),
        pytest.param(60.0, 60.0, True, id="stopped by SIGSTOP, awake"),
    ],
)
def test_the_two_clocks_tell_a_suspend_from_an_ordinary_second(ran: float, passed: float, slept: bool) -> None:
    assert gap((100.0, 5_000.0), (100.0 + ran, 5_000.0 + passed)) is slept
