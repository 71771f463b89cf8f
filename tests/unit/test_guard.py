"""The guard, on its own, over the three-process stand-in: whatever ends, nothing is left."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from stackctl import identity
from stackctl.errors import StackError
from stackctl.model import Probe, ProcessSpec, ServiceKind
from stackctl.process import Child, spawn, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.drill

SERVICE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fakes", "service.py")
PY = [sys.executable, "-I", "-S"]


def until(condition: Callable[[], object], within: float, what: str) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within, f"not within {within} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - began


class Service:
    """A started stand-in, the identities of its three processes, and its guard's."""

    def __init__(self, tmp_path: Path, *flags: str, grace: float = 2.0, argv: tuple[str, ...] = ()) -> None:
        self.log = str(tmp_path / "service.log")
        self.said: list[dict[str, object]] = []
        argv = argv or (*PY, SERVICE, *flags)
        spec = ProcessSpec(
            "svc", ServiceKind.ENGINE, argv, {"PATH": os.environ["PATH"]}, str(tmp_path), self.log,
            "127.0.0.1", 0, Probe("http://127.0.0.1:0/health"), grace=grace,
        )  # fmt: skip
        self.child: Child = spawn(spec, run_id="r1")
        self.tree: list[identity.Identity] = []

    def names_its_tree(self) -> Service:
        until(lambda: any(line.startswith("pids ") for line in tail(self.log)), 20, "the stand-in names its processes")
        line = next(line for line in tail(self.log) if line.startswith("pids "))
        self.tree = [found for pid in line.split()[1:] if (found := identity.of(int(pid)))]
        assert len(self.tree) == 3
        return self

    def heard(self, event: str) -> bool:
        self.said += self.child.messages()
        return any(each["event"] == event for each in self.said)

    def left(self) -> list[identity.Identity]:
        return [each for each in [*self.tree, self.child.guard] if identity.alive(each)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def _start(*flags: str, grace: float = 2.0, argv: tuple[str, ...] = ()) -> Service:
        started.append(Service(tmp_path, *flags, grace=grace, argv=argv))
        return started[-1] if argv else started[-1].names_its_tree()

    yield _start
    for each in started:
        each.child.close()
        for one in each.tree:
            identity.send(one, signal.SIGKILL)


SHAPES = [
    pytest.param((), id="plain"),
    pytest.param(("--ignore-term", "core,worker"), id="children ignore TERM"),
    pytest.param(("--own-session",), id="worker in its own session"),
    pytest.param(
        ("--own-session", "--orphan", "--ignore-term", "worker"), id="orphaned deaf worker in its own session"
    ),
]


@pytest.mark.parametrize("flags", SHAPES)
def test_a_closed_lifeline_kills_the_tree(start: Callable[..., Service], flags: tuple[str, ...]) -> None:
    service = start(*flags)
    os.close(service.child._guard.lifeline)
    service.child._guard.lifeline = -1
    assert until(lambda: not service.left(), 6, "the tree is gone") < 6


@pytest.mark.parametrize("flags", SHAPES)
def test_the_leader_killed_takes_the_rest_along(start: Callable[..., Service], flags: tuple[str, ...]) -> None:
    service = start(*flags)
    assert identity.send(service.child.leader, signal.SIGKILL)
    until(lambda: service.heard("exited"), 6, "the end of the leader is reported at once")
    until(lambda: not service.left(), 24, "the tree is gone")
    until(lambda: service.heard("lost"), 6, "the guard ends too")
    assert {"event": "exited", "code": None, "signal": 9} in service.said
    assert [each["event"] for each in service.said] == ["exited", "empty", "lost"]


@pytest.mark.parametrize("flags", SHAPES)
def test_term_ends_gently_and_within_the_grace(start: Callable[..., Service], flags: tuple[str, ...]) -> None:
    service = start(*flags, grace=2.0)
    service.child.terminate()
    until(lambda: not service.left(), 2.0 + 6.0, "the tree is gone")
    until(lambda: service.heard("empty"), 6, "the guard says so")
    assert {"event": "exited", "code": None, "signal": 15} in service.said


def test_a_leader_that_ignores_term_is_killed_when_the_grace_is_over(start: Callable[..., Service]) -> None:
    service = start("--ignore-term", "api,core,worker", grace=1.0)
    service.child.terminate()
    took = until(lambda: not service.left(), 10, "the tree is gone")
    assert took > 0.9


def test_term_twice_kills_at_once(start: Callable[..., Service]) -> None:
    service = start("--ignore-term", "api,core,worker", grace=60.0)
    service.child.terminate()
    time.sleep(0.3)  # two pending TERMs would be one
    assert len(service.left()) == 4
    service.child.terminate()
    until(lambda: not service.left(), 10, "the tree is gone")


def test_a_frozen_tree_can_be_ended(start: Callable[..., Service]) -> None:
    service = start(grace=2.0)
    for each in service.tree:
        identity.send(each, signal.SIGSTOP)
    service.child.terminate()
    until(lambda: not service.left(), 10, "the tree is gone")


def test_orphans_that_end_by_themselves_leave_no_zombie(start: Callable[..., Service]) -> None:
    code = (
        "import os, time\n"
        "for _ in range(20):\n"
        "    if not os.fork():\n"
        "        if not os.fork(): time.sleep(1)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "time.sleep(60)"
    )
    service = start(argv=(*PY, "-c", code))
    guard = service.child.guard.pid

    def children() -> list[int]:
        return [each.pid for each in identity.table().values() if each.parent == guard]

    until(lambda: len(children()) > 5, 30, "orphans come to the guard")
    until(lambda: children() == [service.child.leader.pid], 30, "and are collected")


def test_a_tree_that_forks_while_it_is_killed_is_gone_too(start: Callable[..., Service]) -> None:
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for _ in range(400):\n"  # a chain: each child makes the next in a new session and ends
        "    time.sleep(0.005)\n"
        "    if os.fork(): os._exit(0)\n"
        "    os.setsid()\n"
        "time.sleep(60)"
    )
    service = start(argv=(*PY, "-c", f"import os, time\nif not os.fork():\n    exec({code!r})\ntime.sleep(60)"))
    time.sleep(0.3)
    service.child.kill()
    until(lambda: service.heard("lost"), 30, "the guard ends")
    assert {"event": "empty"} in service.said
    assert not [each for each in identity.table().values() if each.sid == service.child.sid and not each.ended]


def test_exit_code_of_the_leader_is_reported(start: Callable[..., Service]) -> None:
    service = start(argv=(*PY, "-c", "import sys; print('bye'); sys.exit(7)"))
    until(lambda: service.heard("lost"), 30, "the guard ends")
    assert service.said[0] == {"event": "exited", "code": 7, "signal": None}
    assert tail(service.log) == ("bye",)


def test_a_program_that_does_not_exist_is_said_so(start: Callable[..., Service]) -> None:
    with pytest.raises(StackError, match="cannot start svc: /no/such: No such file or directory"):
        start(argv=("/no/such",))


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    spec = ProcessSpec(
        "svc", ServiceKind.ENGINE, ("true",), {}, str(tmp_path / "gone"), str(tmp_path / "log"),
        "127.0.0.1", 0, Probe("http://127.0.0.1:0/"),
    )  # fmt: skip
    with pytest.raises(StackError, match="gone: No such file"):
        spawn(spec)


def test_a_log_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    spec = ProcessSpec(
        "svc", ServiceKind.ENGINE, ("true",), {}, str(tmp_path), str(tmp_path / "log"),
        "127.0.0.1", 0, Probe("http://127.0.0.1:0/"),
    )  # fmt: skip
    with pytest.raises(StackError, match="cannot write the log"):
        spawn(spec)
    assert (tmp_path / "victim").read_text() == "mine"


def test_the_service_gets_its_environment_default_signals_and_no_stray_descriptor(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    code = (
        "import os, signal\n"
        "print(sorted(set(os.environ) - {'LC_CTYPE'}))\n"
        "print([s for s in (1, 2, 3, 13, 15) if signal.getsignal(s) == signal.SIG_IGN])\n"
        "print(sorted(set(os.listdir('/proc/self/fd')) - {'0', '1', '2', '3'}))\n"
        "print(os.getpgid(0) == os.getpid(), os.getcwd())"
    )
    # Not isolated: Python itself then sets SIGPIPE to ignored, so it is asked of the kernel through a shell.
    service = start(argv=("/bin/sh", "-c", 'grep SigIgn /proc/$$/status; exec "$@"', "-", *PY, "-c", code))
    until(lambda: service.heard("lost"), 30, "it ends")
    lines = tail(service.log)
    assert int(lines[0].split()[1], 16) & 0x7FFFFFFF == 0  # 32 and 33 are the C library's own
    assert set(eval(lines[1])) - {"PWD", "SHLVL", "_"} == {"PATH", "STACKCTL_RUN"}  # the shell's own left out
    assert lines[3] == "[]"
    assert lines[4] == f"True {tmp_path}"
    assert oct(os.stat(service.log).st_mode & 0o777) == "0o600"


def test_a_guard_is_small(start: Callable[..., Service]) -> None:
    service = start()
    with open(f"/proc/{service.child.guard.pid}/status") as status:
        rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    assert rss <= 12 * 1024
