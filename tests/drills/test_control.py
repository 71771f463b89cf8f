"""The control socket: one service restarted on request, for its owner only."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stackctl import control, identity
from stackctl.commands import restart
from stackctl.errors import NotRunningError, StackError
from stackctl.paths import StackPaths
from stackctl.supervisor import stop
from tests.drills.harness import Stack, engine, gateway, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.drill


@pytest.mark.parametrize("service", ["engine", "gateway"])
def test_one_service_is_restarted_and_the_other_is_not(up: Callable[..., Stack], service: str) -> None:
    stack = up(engine("--ignore-term", "worker", grace=1), gateway(grace=1)).ready()
    other = {"engine": "gateway", "gateway": "engine"}[service]
    old, kept = stack.tree(service), stack.tree(other)
    outcome = restart.one(service, None, None)
    assert outcome.data["pid"] == stack.tree(service)[0].pid
    assert not any(map(identity.alive, old))
    assert stack.tree(other) == kept
    assert stack.ask(service, "/work", "POST").ok
    assert stack.find("ServiceChanged", name=service, state="restarting")[0]["detail"] == "somebody asked for it"
    print(f"drill +: restart {service}: ready after {outcome.data['seconds']} s, {other} untouched")


def test_restarts_on_request_are_no_crash_loop(up: Callable[..., Stack]) -> None:
    stack = up(engine(grace=1), gateway(), backoff=0.1).ready()
    for _ in range(7):
        restart.one("engine", None, None)
    identity.send(stack.tree("engine")[0], 9)
    stack.saw("ServiceChanged", name="engine", state="ready", times=9)
    assert not stack.find("ServiceChanged", name="engine", state="failed")
    record = stack.record("engine")
    assert (record.restarts, record.requested, record.deaths) == (8, 7, 1)


def test_a_failed_service_is_started_again_on_request(up: Callable[..., Stack], tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    stack = up(engine("--run-for", "0.5", "--armed-by", str(armed)), gateway(), backoff=0.1, max_starts=2).ready()
    armed.touch()
    stack.saw("ServiceChanged", name="engine", state="failed")
    assert restart.one("engine", None, None).exit_code == 0
    until(lambda: stack.state().failure is None or stack.record("engine").restarts > 2, 5, "forgotten")


def test_only_the_owner_is_listened_to(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    path = control.path(stack.paths)
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.lstat(stack.paths.root).st_mode) == 0o700
    if os.geteuid() == 0:  # somebody else, to whom even the modes do not stand in the way
        directory = stack.paths.root
        while directory != "/":
            if os.lstat(directory).st_uid == 0 and not os.lstat(directory).st_mode & 0o005:
                os.chmod(directory, 0o755)
            directory = os.path.dirname(directory)
        os.chmod(path, 0o666)
        asked = '{"do": "restart", "service": "engine"}\n'
        code = (
            "import os, socket, sys; os.chdir(sys.argv[1]); os.setgid(65534); os.setuid(65534); "
            "s = socket.socket(socket.AF_UNIX); s.connect('control.sock'); s.sendall(sys.argv[2].encode()); "
            "print(s.recv(4096).decode())"
        )
        done = subprocess.run([sys.executable, "-I", "-c", code, stack.paths.root, asked], capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
        os.chmod(stack.paths.root, 0o700)
        assert json.loads(done.stdout) == {"error": "this stack belongs to another user"}, done.stderr
    assert stack.record("engine").restarts == 0
    print("drill S10: 0600 in a directory of 0700; another uid that reaches it all the same is refused")


def test_nonsense_harms_nobody(up: Callable[..., Stack]) -> None:
    stack = up(engine(), gateway()).ready()
    for said in (
        b"",
        b"\n",
        b"[1]\n",
        b"{" * 5000,
        b'{"do": "format"}\n',
        b'{"do": "restart", "service": "x"}\n',
        b"\xff\n",
    ):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(30)
            with control._short(stack.paths) as short:
                peer.connect(short)
            peer.sendall(said)
            if said:
                assert b"error" in peer.recv(4096)
    with socket.socket(socket.AF_UNIX) as silent, control._short(stack.paths) as short:
        silent.connect(short)
        until(lambda: stack.ask("engine", "/work", "POST").ok, 5, "it goes on")
    with pytest.raises(StackError, match="no service 'motor'"):
        restart.one("motor", None, None)
    assert stop(stack.paths, timeout=20).clean
    stack.no_files_left()
    with pytest.raises(NotRunningError):
        restart.one("engine", None, None)


def test_without_a_supervisor_nobody_answers() -> None:
    with pytest.raises(StackError, match="does not answer"):
        control.ask(StackPaths("none"), do="restart", service="engine")
