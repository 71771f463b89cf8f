"""Drills: whatever is killed, nothing is left. Each prints its number (`pytest -rP`, `make drills`)."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pty import openpty
from typing import TYPE_CHECKING

import pytest

from stackctl import files, identity, runstate
from stackctl.supervisor import stop
from tests.drills.harness import DRIVER, PATIENCE, Stack, engine, gateway, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.identity import Identity

pytestmark = pytest.mark.drill

SHAPES = [
    pytest.param((), id="plain"),
    pytest.param(("--ignore-term", "core,worker"), id="children ignore TERM"),
    pytest.param(("--own-session", "--ignore-term", "worker"), id="deaf worker in its own session"),
    pytest.param(("--own-session", "--orphan"), id="orphaned worker in its own session"),
]


def shape_of(request: pytest.FixtureRequest) -> str:
    """The name of the shape that a test runs with."""
    return str(request.node.callspec.id).removeprefix("engine-").removeprefix("both-")


def guard_of(stack: Stack, name: str) -> Identity:
    guard = stack.record(name).guard
    assert guard is not None
    return guard


@pytest.mark.parametrize("flags", SHAPES)
def test_supervisor_killed(up: Callable[..., Stack], flags: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    stack = up(engine(*flags), gateway()).ready()
    assert len(stack.seen) == 8
    stack.signal(signal.SIGKILL)
    took = stack.nothing_left(2)
    print(f"drill 1: {shape_of(request)}: 0 of 8 processes left after {took:.2f} s")
    assert runstate.reconcile(stack.paths) == [
        "removed the state of a stack that no longer runs",
        "removed its temporary files",
    ]
    stack.no_files_left()
    assert runstate.reconcile(stack.paths) == []


@pytest.mark.parametrize("flags", SHAPES)
def test_api_server_killed(up: Callable[..., Stack], flags: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    stack = up(engine(*flags), gateway()).ready()
    old = stack.tree("engine")
    identity.send(old[0], signal.SIGKILL)
    gone = until(lambda: not any(map(identity.alive, old)), 8, "the old engine is gone")
    stack.saw("ServiceChanged", name="engine", state="ready", times=2)
    assert not set(old) & set(stack.tree("engine"))
    assert stack.record("engine").restarts == 1
    print(f"drill 2: {shape_of(request)}: 0 old processes after {gone:.2f} s, restarted")


@pytest.mark.parametrize("flags", SHAPES)
def test_down(up: Callable[..., Stack], flags: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    stack = up(engine(*flags), gateway()).ready()
    began = time.monotonic()
    report = stop(stack.paths, timeout=20)
    assert stack.left() == []
    assert report.clean
    number = 4 if "--own-session" in flags else 3 if flags else "+"
    print(f"drill {number}: down, {shape_of(request)}: 0 left after {time.monotonic() - began:.2f} s")
    stack.no_files_left()


@pytest.mark.parametrize("flags", SHAPES)
@pytest.mark.parametrize("victims", ["engine", "both"])
def test_supervisor_and_guard_killed_together(
    up: Callable[..., Stack], victims: str, flags: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    stack = up(engine(*flags), gateway()).ready()
    guards = [guard_of(stack, "engine")] + [guard_of(stack, "gateway")] * (victims == "both")
    stack.signal(signal.SIGSTOP)  # so that it cannot react to the death of a guard
    for each in guards:
        identity.send(each, signal.SIGKILL)
    stack.signal(signal.SIGKILL)
    stack.popen.wait(60)
    until(lambda: len(stack.left()) == (6 if victims == "both" else 3), 10, "the unguarded live on")
    began = time.monotonic()
    did = runstate.reconcile(stack.paths)
    took = time.monotonic() - began
    assert stack.left() == []
    assert did[0] == f"killed {6 if victims == 'both' else 3} processes that a dead supervisor had left"
    stack.no_files_left()
    print(f"drill 10: {victims} guard(s), {shape_of(request)}: 0 left {took:.2f} s after the next command")


def test_supervisor_and_guards_killed_and_the_state_lost(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    stack.signal(signal.SIGSTOP)
    for each in (guard_of(stack, "engine"), guard_of(stack, "gateway")):
        identity.send(each, signal.SIGKILL)
    stack.signal(signal.SIGKILL)
    stack.popen.wait(60)
    os.unlink(stack.paths.state)
    with open(stack.paths.lock, "w"):
        pass
    for name in os.listdir(os.path.join(stack.paths.root, "services")):
        os.unlink(os.path.join(stack.paths.root, "services", name))
    runstate.reconcile(stack.paths)
    assert stack.left() == []
    stack.no_files_left()


def test_a_guard_killed_alone(up: Callable[..., Stack]) -> None:
    stack = up(engine("--own-session"), gateway()).ready()
    old = stack.tree("engine")
    identity.send(guard_of(stack, "engine"), signal.SIGKILL)
    gone = until(lambda: not any(map(identity.alive, old)), 15, "the unguarded tree is gone")
    stack.saw("ServiceChanged", name="engine", state="ready", times=2)
    assert stack.find("ServiceChanged", name="engine", state="restarting")[0]["detail"] == "its guard was killed"
    print(f"drill +: kill -9 guard: 0 old processes after {gone:.2f} s, restarted")


def test_the_next_up_cleans_up_and_starts(up: Callable[..., Stack]) -> None:
    first = up(engine(), gateway()).ready()
    first.signal(signal.SIGSTOP)
    identity.send(guard_of(first, "engine"), signal.SIGKILL)
    first.signal(signal.SIGKILL)
    first.popen.wait(60)
    old = list(first.seen.values())
    second = up(*first.services).ready()  # the same ports: they must be free again
    assert not any(map(identity.alive, old))
    assert second.ask("engine", "/work", "POST").ok


def test_a_frozen_supervisor_is_killed_by_down(up: Callable[..., Stack]) -> None:
    stack = up(engine("--ignore-term", "api", grace=60), gateway()).ready()
    report = stop(stack.paths, timeout=1.5)
    assert report.clean
    assert "did not stop within 1.5 s and was killed" in report.lines[0]
    assert stack.left() == []


def test_twenty_starts_at_once_make_one_stack(up: Callable[..., Stack]) -> None:
    services = engine(), gateway()
    stacks = [up(*services) for _ in range(20)]
    until(lambda: sum(bool(each.find("Ready")) for each in stacks) == 1, 60, "one is ready")
    until(lambda: sum(each.popen.poll() is not None for each in stacks) == 19, 60, "the others have given up")
    winner = next(each for each in stacks if each.popen.poll() is None)
    for each in stacks:
        assert each is winner or each.exit_code()
    refused = [each for each in stacks if each.find("error", type="AlreadyRunning")]
    assert len(refused) == 19
    assert len(winner.remember()) == 8
    assert winner.ask("engine", "/work", "POST").ok
    assert stop(winner.paths, timeout=20).clean
    print("drill 13: 1 of 20 has the stack, 19 are told who; 8 processes")


# --- what lies in the state file's place, or is forged in it


def _replace(path: str, raw: bytes) -> None:
    with open(path, "wb") as state:
        state.write(raw)


def _directory(path: str) -> None:
    os.unlink(path)
    os.mkdir(path)


CORRUPTIONS = [
    pytest.param(lambda path: _replace(path, b""), id="empty"),
    pytest.param(lambda path: _replace(path, b'{"schema": 1, "na'), id="cut off"),
    pytest.param(lambda path: _replace(path, bytes(range(256))), id="binary"),
    pytest.param(lambda path: _replace(path, b"[]"), id="another shape"),
    pytest.param(os.unlink, id="removed"),
    pytest.param(_directory, id="a directory"),
]


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_a_running_stack_whose_state_is_corrupted_repairs_it_and_is_stopped_all_the_same(
    up: Callable[..., Stack], corrupt: Callable[[str], object], request: pytest.FixtureRequest
) -> None:
    stack = up(engine(), gateway()).ready()
    corrupt(stack.paths.state)
    until(lambda: not os.path.isdir(stack.paths.state) or runstate.read(stack.paths), 10, "out of the way")
    until(lambda: (found := runstate.read(stack.paths)) and found.plan_digest, 10, "written again")
    corrupt(stack.paths.state)
    assert stop(stack.paths, timeout=20).was_running
    assert stack.left() == []
    left = [name for name in os.listdir(stack.paths.root) if ".corrupt-" not in name]
    assert sorted(left) == ["lock", "logs", "work"]
    print(f"drill 14: {request.node.callspec.id}: repaired while it runs, down leaves 0")


def die(stack: Stack) -> None:
    """Supervisor and guards are killed together: the services live on, and only the records tell of them."""
    stack.signal(signal.SIGSTOP)
    for name in ("engine", "gateway"):
        identity.send(guard_of(stack, name), signal.SIGKILL)
    stack.signal(signal.SIGKILL)
    stack.popen.wait(60)


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_over_a_corrupt_state_of_dead_supervisors_a_stack_starts(
    up: Callable[..., Stack], corrupt: Callable[[str], object], request: pytest.FixtureRequest
) -> None:
    first = up(engine(), gateway()).ready()
    die(first)
    corrupt(first.paths.state)
    second = up(*first.services).ready()  # on the same ports
    assert not any(map(identity.alive, first.seen.values()))
    assert stop(second.paths, timeout=20).clean
    print(f"drill 14: {request.node.callspec.id}: up works over what dead supervisors left, and down after it")


def test_a_forged_or_recycled_pid_is_nobody_of_ours(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        try:
            die(stack)
            state = json.loads(files.read_private(stack.paths.state))
            ticks = identity.start_ticks(stranger.pid)
            forged = {"pid": stranger.pid, "start_ticks": ticks}
            state["supervisor"] = forged  # forged: its true start time
            state["services"][0] |= {"guard": forged, **forged, "pgid": stranger.pid, "sid": stranger.pid}
            state["services"][1] |= {"pid": stranger.pid, "pgid": stranger.pid}  # recycled: another's
            _replace(stack.paths.state, json.dumps(state).encode())
            assert stop(stack.paths, timeout=5).clean
            assert stack.left() == []
            assert stranger.poll() is None
        finally:
            stranger.kill()
    print("drill 15: a stranger with a recorded pid, group and start time: not signalled; ours: 0 left")


def test_a_stack_whose_directory_is_removed_ends(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    shutil.rmtree(stack.paths.root)
    assert stack.exit_code(10) == 1
    assert "was removed while the stack ran" in stack.find("ended")[0]["reason"]
    assert stack.left() == []


def test_a_running_stack_whose_lock_is_removed_is_no_dead_one(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    trees = stack.tree("engine"), stack.tree("gateway")
    stack.signal(signal.SIGSTOP)  # so that it cannot put things right at once
    os.unlink(stack.paths.lock)
    assert runstate.running(stack.paths) is not None
    assert runstate.reconcile(stack.paths) == []
    second = up(*stack.services)
    second.saw("error", type="AlreadyRunning")
    stack.signal(signal.SIGCONT)
    until(lambda: runstate.is_locked(stack.paths) and runstate.signature(stack.paths) == stack.me, 5, "locked again")
    assert (stack.tree("engine"), stack.tree("gateway")) == trees
    os.unlink(stack.paths.lock)
    assert stop(stack.paths, timeout=20).clean
    assert stack.left() == []
    stack.no_files_left()


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_in_a_terminal_during_the_start(up: Callable[..., Stack], presses: int) -> None:
    """Once: the prompt is back within the grace; twice: within two seconds."""
    deaf = ("--load", "60", "--ignore-term", "api,core,worker")
    services = [engine(*deaf, grace=3), gateway("--load", "60", grace=3)]
    terminal, side = openpty()
    popen = subprocess.Popen(
        [sys.executable, "-I", "-c", CONTROLLED, sys.executable, "-I", DRIVER, "default", json.dumps(services)],
        stdin=side, stdout=side, stderr=side, start_new_session=True,
    )  # fmt: skip
    os.close(side)
    try:
        stack = up(watch=True)
        until(lambda: len(stack.remember()) == 8, 20, "both trees run")
        began = time.monotonic()
        os.write(terminal, b"\x03")
        if presses == 2:
            until(lambda: b'"Stopping"' in os.read(terminal, 65536), 5, "the first was heard")
            began = time.monotonic()
            os.write(terminal, b"\x03")
        popen.wait(60)
        took = time.monotonic() - began
        assert took < PATIENCE * (3 + 2 if presses == 1 else 2)
        assert stack.left() == []
        print(f"drill 21: {'^C' * presses}: prompt back after {took:.1f} s")
    finally:
        os.close(terminal)
        popen.kill()
        popen.wait()


CONTROLLED = "import fcntl, os, sys, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\nos.execv(sys.argv[1], sys.argv[1:])"


def rounds_of_random_killing(up: Callable[..., Stack], rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(rounds):
        shape = chance.choice([(), ("--own-session",), ("--orphan", "--own-session"), ("--ignore-term", "core,worker")])
        stack = up(engine(*shape, "--load", "0.3"), gateway("--load", "0.2"))
        until(lambda: stack.popen.poll() is not None or stack.remember(), 20, "something runs")  # noqa: B023
        time.sleep(chance.random() * 1.2)
        everyone = [*stack.remember(), *([stack.me] if stack.me else [])]
        for victim in chance.sample(everyone, k=min(chance.choice([1, 1, 2, 3]), len(everyone))):
            identity.send(victim, signal.SIGKILL)
        time.sleep(chance.random() * 0.3)
        stack.remember()
        report = stop(stack.paths, timeout=20)
        assert report.clean, f"seed {seed}, round {number}: {report}"
        until(lambda: not stack.left(), 6, f"seed {seed}, round {number}: {stack.left()}")  # noqa: B023
        stack.popen.wait(60)
        stack.no_files_left()


def test_random_processes_killed_at_random_moments(up: Callable[..., Stack]) -> None:
    rounds_of_random_killing(up, 6, seed=20261123)
    print("drill 26: 6 rounds: 0 left every time")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_rounds_of_random_killing(up: Callable[..., Stack]) -> None:
    rounds_of_random_killing(up, 100, seed=7)
    print("drill 26: 100 rounds: 0 left every time")


def test_a_closed_terminal_ends_a_foreground_stack(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    stack.signal(signal.SIGHUP)
    stack.exit_code(10)
    assert stack.left() == []
    assert stack.find("ended")[0]["signum"] == signal.SIGHUP


def test_the_stack_as_process_1_of_a_container(up: Callable[..., Stack]) -> None:
    """A pid namespace stands in for the container: its first process gets every orphan, and its end ends the rest."""
    unshare = "/usr/bin/unshare"
    code = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    one = engine("--own-session")
    popen = subprocess.Popen(
        [unshare, "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child",
         sys.executable, "-I", "-c", code, sys.executable, "-I", DRIVER, "default", json.dumps([one])],
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    )  # fmt: skip
    assert popen.stdout is not None
    with popen.stdout as lines:
        for line in lines:
            if json.loads(line)["event"] == "Ready":
                break
        inside = next(each.pid for each in identity.table().values() if each.parent == popen.pid)
        os.kill(inside, signal.SIGTERM)
        last = [json.loads(line) for line in lines][-1]
    assert last["event"] == "ended"
    assert last["signum"] == signal.SIGTERM
    assert popen.wait(60) == 0
    print("drill +: as process 1 of a container: TERM ends it, exit code as outside")
