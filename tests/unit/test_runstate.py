"""The state file, the lock and what a dead supervisor left: believed only as far as they can be checked."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import files, identity, runstate, stopping
from stackctl.errors import StackError
from stackctl.identity import Identity
from stackctl.model import ClientFacts, RouteFacts, ServiceKind, State
from stackctl.paths import StackPaths
from stackctl.runstate import Lock, ServiceRecord, StackState
from stackctl.supervisor import StopReport, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackPaths:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    found = StackPaths("default")
    files.private_dir(found.root)
    files.private_dir(found.logs)
    return found


ROUTES = (
    RouteFacts("haiku", "claude-local-haiku", "small/m", "attic", 8192, 2048, vision=True),
    RouteFacts("opus", "claude-local-opus", "anthropic/claude-opus-4-8", problem="no route to host"),
)


@pytest.fixture
def bystander() -> Iterator[Identity]:
    popen = subprocess.Popen(["/bin/sleep", "60"])
    me = identity.of(popen.pid)
    assert me is not None
    yield me
    assert popen.poll() is None, "a stranger was signalled"
    popen.kill()
    popen.wait()


def state_of(paths: StackPaths, supervisor: Identity | None, *services: ServiceRecord) -> StackState:
    return StackState(
        paths.name, "digest", "http://127.0.0.1:4000", supervisor, State.READY, paths.tmp,
        ClientFacts("http://127.0.0.1:4000", "claude-local", "m", 4096, 1024, 600, ROUTES), list(services), 1.5,
        boot_id=identity.boot_id(), hostname=os.uname().nodename,
    )  # fmt: skip


def service_of(paths: StackPaths, leader: Identity, guard: Identity) -> ServiceRecord:
    return ServiceRecord(
        "engine", ServiceKind.ENGINE, State.READY, 8000, paths.log("engine"), "m", 4096, 1, 2.5,
        leader=leader, guard=guard, pgid=leader.pid, sid=guard.pid,
    )  # fmt: skip


def dead() -> Identity:
    return Identity(2**22 - 1, 1, identity.boot_id())


def test_what_is_written_is_read_back(paths: StackPaths) -> None:
    state = state_of(paths, identity.mine(), service_of(paths, identity.mine(), identity.mine()))
    runstate.write(paths, state)
    assert runstate.read(paths) == state
    raw = json.loads(files.read_private(paths.state))
    assert raw["schema"] == 1
    assert {"name", "boot_id", "hostname", "stackctl", "supervisor", "state", "plan_digest", "gateway_url", "client",
            "tmp", "services", "verified_at", "failure"} <= set(raw)  # fmt: skip
    assert {"name", "kind", "state", "pid", "port", "model", "window", "restarts", "since", "guard", "pgid", "sid",
            "start_ticks", "log"} <= set(raw["services"][0])  # fmt: skip


def test_the_facts_for_clients_survive_being_written_as_data(paths: StackPaths) -> None:
    client = state_of(paths, None).client
    assert client is not None
    assert ClientFacts.from_data(json.loads(json.dumps(asdict(client)))) == client
    raw = asdict(client)
    del raw["routes"]  # as an earlier version wrote it
    assert ClientFacts.from_data(raw).routes == ()


def test_running_means_that_the_lock_is_held_by_who_is_recorded(paths: StackPaths) -> None:
    assert runstate.running(paths) is None
    runstate.write(paths, state_of(paths, identity.mine()))
    assert runstate.running(paths) is None
    lock = Lock(paths)
    assert lock.take()
    assert runstate.running(paths) is not None
    assert not Lock(paths).take()
    lock.release()
    assert runstate.running(paths) is None
    assert Lock(paths).take()


@contextlib.contextmanager
def beside(code: str) -> Iterator[tuple[subprocess.Popen[bytes], bytes]]:
    """Another process that runs `code`, and the line by which it said how far it is; it waits for input, and is ended."""
    popen = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=os.getcwd(), env=os.environ
    )
    assert popen.stdout is not None
    assert popen.stdin is not None
    try:
        yield popen, popen.stdout.readline()
    finally:
        popen.stdin.close()  # which also ends a child that waits for it
        popen.stdout.close()
        popen.kill()
        popen.wait()


def go_on(popen: subprocess.Popen[bytes]) -> None:
    assert popen.stdin is not None
    popen.stdin.write(b"\n")
    popen.stdin.flush()


def test_the_lock_dies_with_its_process_and_is_not_inherited(paths: StackPaths) -> None:
    code = (
        "import subprocess, sys\n"
        "from stackctl.paths import StackPaths\nfrom stackctl import runstate, identity\n"
        "lock = runstate.Lock(StackPaths('default'))\nassert lock.take(); lock.sign(identity.mine())\n"
        "child = subprocess.Popen(['/bin/sleep', '60'], close_fds=False)\nprint(child.pid, flush=True)\ninput()"
    )
    with beside(code) as (popen, said):
        try:
            assert runstate.is_locked(paths)
            assert runstate.holder(paths) == identity.of(popen.pid)
            popen.kill()
            popen.wait()
            assert not runstate.is_locked(paths)
            assert runstate.holder(paths) is None
        finally:
            os.kill(int(said), signal.SIGKILL)


def test_a_command_in_the_middle_of_its_work_is_no_supervisor(paths: StackPaths) -> None:
    """A `down` that was clearing up after a dead supervisor was itself told to stop by the next `down`."""
    code = (
        "from stackctl.paths import StackPaths\nfrom stackctl import runstate\n"
        "lock = runstate.Lock(StackPaths('default'))\nassert lock.share()\nprint(flush=True)\ninput()"
    )
    with beside(code) as (popen, _):
        assert not runstate.is_locked(paths)
        assert runstate.holder(paths) is None
        assert not Lock(paths).take()  # but no supervisor begins meanwhile
        assert stop(paths, timeout=1) == StopReport(was_running=False, clean=True)
        with ThreadPoolExecutor(1) as pool:
            beginning = pool.submit(Lock(paths).take, timeout=60)
            go_on(popen)
            assert beginning.result(timeout=60)
        assert popen.wait() == 0


def test_a_stack_that_is_started_again_at_once_is_not_called_stuck(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`down` beside `up`: the old supervisor had gone, but its successor held the lock before `down` looked again."""
    monkeypatch.setattr(stopping, "_DIES", 0.1)
    code = (
        "import os, signal\nfrom stackctl.paths import StackPaths\nfrom stackctl import identity, runstate\n"
        "lock = runstate.Lock(StackPaths('default'))\nassert lock.take()\nlock.sign(identity.mine())\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "if not (successor := os.fork()):\n    input()\n    os._exit(0)\n"  # it has the same lock
        "print(flush=True)\nsignal.sigwait([signal.SIGTERM])\nlock.sign(identity.of(successor))\nos._exit(0)"
    )
    with beside(code):
        assert stop(paths, timeout=60) == StopReport(was_running=True, clean=True, again=True)


@pytest.mark.parametrize("signs", [True, False])
def test_a_supervisor_that_has_not_written_its_state_yet_is_waited_for(paths: StackPaths, *, signs: bool) -> None:
    """Twenty `up` at once on a slow disk: one had the lock, and the others took its state for lost."""
    code = (
        "import os, sys\n"
        "from stackctl.paths import StackPaths\nfrom stackctl import runstate, identity\n"
        "from stackctl.runstate import StackState\n"
        "paths, me = StackPaths('default'), identity.mine()\n"
        f"lock = runstate.Lock(paths)\nassert lock.take()\nif {signs}: lock.sign(me)\n"
        "print(flush=True)\ninput()\n"
        "runstate.write(paths, StackState(paths.name, 'digest', 'http://127.0.0.1:4000', me, boot_id=me.boot_id,"
        " hostname=os.uname().nodename))\ninput()"
    )
    with beside(code) as (popen, _):
        early = runstate.recorded(paths, timeout=0.0)
        assert early is None if not signs else early is not None and early.recovered
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(runstate.recorded, paths)
            go_on(popen)
            state = waiting.result(timeout=60)
        assert state is not None
        assert (state.plan_digest, state.recovered) == ("digest", False)
        popen.kill()
        popen.wait()
        assert runstate.recorded(paths, timeout=math.inf) is None  # and nobody is waited for who is gone


def _corrupt_symlink(path: str) -> None:
    os.symlink("/etc/passwd", path)


def _corrupt_fifo(path: str) -> None:
    os.mkfifo(path)


CORRUPTIONS: list[Any] = [
    pytest.param(lambda path: _write(path, b""), id="empty"),
    pytest.param(lambda path: _write(path, b'{"schema": 1, "name": "def'), id="cut off"),
    pytest.param(lambda path: _write(path, os.urandom(4096)), id="binary"),
    pytest.param(lambda path: _write(path, b"[1, 2, 3]"), id="another shape"),
    pytest.param(lambda path: _write(path, b'{"schema": 1}'), id="keys missing"),
    pytest.param(lambda path: _write(path, b'{"schema": 99, "name": "x"}'), id="another schema"),
    pytest.param(lambda path: _write(path, b"[" * 100_000), id="nested without end"),
    pytest.param(lambda path: _write(path, b'{"schema": 1, "supervisor": {"pid": "1; rm"}}'), id="wrong types"),
    pytest.param(lambda path: _write(path, b" " * (5 << 20)), id="huge"),
    pytest.param(_corrupt_symlink, id="a symlink"),
    pytest.param(_corrupt_fifo, id="a fifo"),
    pytest.param(os.mkdir, id="a directory"),
]


def _write(path: str, raw: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(raw)


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_a_corrupt_state_is_put_aside_and_the_rest_recovered(
    paths: StackPaths, corrupt: Callable[[str], None], bystander: Identity
) -> None:
    runstate.write_record(paths, service_of(paths, dead(), bystander))
    corrupt(paths.state)
    state = runstate.read(paths)
    assert state is not None
    assert state.recovered
    assert [each.name for each in state.services] == ["engine"]
    assert len([name for name in os.listdir(paths.root) if name.startswith("state.json.corrupt-")]) == 1
    assert stop(paths, timeout=1).clean
    assert runstate.read(paths) is None


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_a_corrupt_state_is_written_over(paths: StackPaths, corrupt: Callable[[str], None]) -> None:
    corrupt(paths.state)
    runstate.read(paths)
    runstate.write(paths, state_of(paths, identity.mine()))
    assert runstate.read(paths) is not None


def test_corrupt_files_do_not_pile_up(paths: StackPaths) -> None:
    for _ in range(10):
        _write(paths.state, b"{")
        runstate.read(paths)
    assert len([name for name in os.listdir(paths.root) if ".corrupt-" in name]) == 3


def test_a_newer_running_supervisor_is_not_guessed_at(paths: StackPaths) -> None:
    _write(paths.state, b'{"schema": 2, "stackctl": "9.9.9"}')
    lock = Lock(paths)
    assert lock.take()
    with pytest.raises(StackError, match=r"another version of stackctl \(9.9.9;"):
        runstate.read(paths)
    lock.release()
    assert os.path.exists(paths.state)


def test_a_forged_state_that_names_a_living_stranger_harms_nobody(paths: StackPaths, bystander: Identity) -> None:
    runstate.write(paths, state_of(paths, bystander, service_of(paths, bystander, bystander)))
    runstate.write_record(paths, service_of(paths, bystander, bystander))
    assert stop(paths, timeout=1).clean  # the fixture proves that the stranger lives


def test_a_forged_supervisor_is_not_signalled_while_the_lock_is_held_by_another(
    paths: StackPaths, bystander: Identity
) -> None:
    lock = Lock(paths)
    assert lock.take()
    lock.sign(bystander)
    runstate.write(paths, state_of(paths, bystander))
    assert runstate.holder(paths) == identity.mine()  # the kernel knows who holds it
    lock.release()


def test_a_recycled_pid_is_a_stranger(paths: StackPaths, bystander: Identity) -> None:
    recycled = Identity(bystander.pid, bystander.start_ticks - 1, bystander.boot_id)
    assert not identity.alive(recycled)
    assert not identity.send(recycled, signal.SIGKILL)
    assert not identity.send(Identity(bystander.pid, bystander.start_ticks, "another boot"), signal.SIGKILL)
    runstate.write(paths, state_of(paths, recycled, service_of(paths, recycled, recycled)))
    assert stop(paths, timeout=1).clean


@pytest.mark.parametrize("pid", [0, -1, 1, 2**31, 2**70])
def test_special_pids_are_never_signalled(pid: int) -> None:
    assert not identity.send(Identity(pid, 0, identity.boot_id()), signal.SIGKILL)


def test_a_zombie_is_not_alive() -> None:
    popen = subprocess.Popen(["/bin/true"])
    me = identity.of(popen.pid)
    assert me is not None
    deadline = time.monotonic() + 30
    while identity.alive(me):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    popen.wait()


def test_the_state_of_another_machine_is_left_alone(paths: StackPaths) -> None:
    state = state_of(paths, dead())
    state.boot_id, state.hostname = "another boot", "another-machine"
    runstate.write(paths, state)
    assert runstate.reconcile(paths) == ["the stack `default` was started on another-machine; left alone"]
    assert os.path.exists(paths.state)


def test_the_state_of_before_a_reboot_is_removed(paths: StackPaths, bystander: Identity) -> None:
    before = Identity(bystander.pid, bystander.start_ticks, "another boot")
    state = state_of(paths, before, service_of(paths, before, before))
    state.boot_id = "another boot"
    runstate.write(paths, state)
    assert runstate.reconcile(paths) == ["removed the state of a stack that no longer runs"]
    assert runstate.read(paths) is None


def test_reconciling_a_running_stack_does_nothing(paths: StackPaths) -> None:
    runstate.write(paths, state_of(paths, identity.mine()))
    lock = Lock(paths)
    assert lock.take()
    assert runstate.reconcile(paths) == []
    assert os.path.exists(paths.state)
    lock.release()


def test_a_reader_of_the_log_is_no_survivor(paths: StackPaths) -> None:
    _write(paths.log("engine"), b"line\n")
    runstate.write(paths, state_of(paths, dead()))
    reader = subprocess.Popen(["/usr/bin/tail", "-f", paths.log("engine")], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not any(
            os.path.realpath(f"/proc/{reader.pid}/fd/{each}") == os.path.realpath(paths.log("engine"))
            for each in os.listdir(f"/proc/{reader.pid}/fd")
        ):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        runstate.reconcile(paths)
        assert reader.poll() is None
    finally:
        reader.kill()
        reader.wait()


def test_the_temporary_directory_goes_with_all_in_it_and_no_link_is_followed(paths: StackPaths, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    top = runstate.make_tmp(paths)
    os.makedirs(os.path.join(top, "a", "b"))
    _write(os.path.join(top, "a", "b", "c"), b"x")
    os.symlink(tmp_path / "precious", os.path.join(top, "a", "link"))
    os.mkfifo(os.path.join(top, "pipe"))
    assert runstate.remove_tmp(paths)
    assert not os.path.exists(top)
    assert (tmp_path / "precious" / "file").read_text() == "mine"
    assert not runstate.remove_tmp(paths)


def test_a_deep_home_gets_a_short_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / ("deep" * 20)))
    deep = StackPaths("default")
    top = runstate.make_tmp(deep)
    assert len(top) < 60
    assert os.stat(top).st_mode & 0o777 == 0o700
    assert runstate.make_tmp(deep) == top
    runstate.remove_tmp(deep)
    assert not os.path.exists(top)


def test_a_full_disk_leaves_the_old_state_whole(paths: StackPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    state = state_of(paths, identity.mine())
    runstate.write(paths, state)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(signal, "default_int_handler", signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))  # a write beyond 16 bytes fails, as on a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            runstate.write(paths, state_of(paths, None))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert runstate.read(paths) == state
    assert not [name for name in os.listdir(paths.root) if name.endswith(".tmp")]
