"""A stack of stand-ins under a real supervisor in a process of its own, and what of it is alive."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from stackctl import identity, probe, runstate, survivors
from stackctl.model import Probe
from stackctl.paths import StackPaths
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

DRIVER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fakes", "supervise.py")


PATIENCE = 3  # a test fails at three times the stated seconds: CI's two cores are shared; the exact figures are printed


def until(condition: Callable[[], object], within: float, what: str | Callable[[], str]) -> float:
    """Wait for `condition`; return how long it took in seconds, fail after PATIENCE times `within`."""
    within *= PATIENCE
    began = time.monotonic()
    while not condition():
        took = time.monotonic() - began
        assert took < within, f"not within {within} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.01)
    return time.monotonic() - began


def engine(*flags: str, **more: Any) -> dict[str, Any]:
    return {"name": "engine", "kind": "engine", "port": free_port(), "flags": list(flags), **more}


def gateway(*flags: str, **more: Any) -> dict[str, Any]:
    return {"name": "gateway", "kind": "gateway", "port": free_port(), "flags": list(flags), **more}


class Stack:
    """One supervisor process; everything that it started is remembered by identity."""

    def __init__(
        self, home: str, *services: dict[str, Any], name: str = "default", watch: bool = False, **policy: Any
    ) -> None:
        """Start it; with `watch`, only look at one that somebody else starts."""
        self.paths = StackPaths(name)
        self.services = services
        self.events: list[dict[str, Any]] = []
        self.seen: dict[tuple[int, int], identity.Identity] = {}
        self.popen = subprocess.Popen(
            ["/bin/true"] if watch else [sys.executable, "-I", DRIVER, name, json.dumps(services), json.dumps(policy)],
            stdout=subprocess.PIPE,
            env={**os.environ, "STACKCTL_HOME": home},
            start_new_session=True,
        )
        self.me = identity.of(self.popen.pid)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as lines:
            for line in lines:
                self.events.append({"at": time.monotonic(), **json.loads(line)})

    def find(self, event: str, **facts: Any) -> list[dict[str, Any]]:
        wanted = {"event": event, **facts}
        return [each for each in list(self.events) if wanted.items() <= each.items()]

    def saw(self, event: str, within: float = 20.0, *, times: int = 1, **facts: Any) -> float:
        return until(lambda: len(self.find(event, **facts)) >= times, within, lambda: f"{event} {facts}: {self.events}")

    def ready(self, within: float = 20.0) -> Stack:
        self.saw("Ready", within)
        self.remember()
        return self

    def state(self) -> runstate.StackState:
        state = runstate.read(self.paths)
        assert state is not None
        return state

    def record(self, name: str) -> runstate.ServiceRecord:
        return next(each for each in self.state().services if each.name == name)

    def ask(self, name: str, path: str = "/health", method: str = "GET", timeout: float = 5.0) -> probe.Result:
        port = next(each["port"] for each in self.services if each["name"] == name)
        return probe.request(Probe(f"http://127.0.0.1:{port}{path}", method=method, timeout=timeout))

    def tree(self, name: str) -> list[identity.Identity]:
        """The API server, the engine core and the worker of a service."""
        pids = self.ask(name, "/pids").body.decode().split()
        found = [each for pid in pids if (each := identity.of(int(pid)))]
        assert len(found) == 3
        return found

    def remember(self) -> list[identity.Identity]:
        """All that lives of the stack now, without the supervisor; remembered for `left`."""
        found = [identity.Identity(each.pid, each.start_ticks, identity.boot_id()) for each in self._living()]
        self.seen.update({(each.pid, each.start_ticks): each for each in found})
        return found

    def _living(self) -> list[identity.ProcessRow]:
        log = os.path.realpath(self.paths.logs) + os.sep
        return survivors.find(mark=runstate.mark_of(self.paths), log=log)

    def left(self) -> list[int]:
        """What lives of the stack, whether it was remembered or can be found now."""
        alive = {each.pid for each in self.seen.values() if identity.alive(each)}
        return sorted(alive | {each.pid for each in self._living()})

    def signal(self, signum: int) -> None:
        self.popen.send_signal(signum)

    def exit_code(self, within: float = 20.0) -> int:
        """Its exit code, once all that it said was read: the end of a process may be seen before its last words are."""
        code = self.popen.wait(within * PATIENCE)
        self._listener.join(20.0 * PATIENCE)
        return code

    def nothing_left(self, within: float) -> float:
        """Wait until no process is left; then no state, no temporary file and no port may be either."""
        return until(lambda: not self.left(), within, lambda: f"processes left: {self.left()}")

    def no_files_left(self) -> None:
        assert sorted(os.listdir(self.paths.root)) == ["lock", "logs", "work"]
        assert not runstate.is_locked(self.paths)

    def destroy(self) -> None:
        for each in [*self.seen.values(), *self.remember()]:
            identity.send(each, signal.SIGKILL)
        self.popen.kill()
        self.popen.wait(60)
        with contextlib.suppress(AssertionError):
            until(lambda: not self.left(), 5, "cleaned up")
        for each in self.remember():
            identity.send(each, signal.SIGKILL)


def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stack]]:
    """The body of a fixture: what starts stacks in a home of their own, all destroyed in the end."""
    home = str(tmp_path / "home")
    monkeypatch.setenv("STACKCTL_HOME", home)
    started: list[Stack] = []

    def up(*services: dict[str, Any], **policy: Any) -> Stack:
        started.append(Stack(home, *services, **policy))
        return started[-1]

    yield up
    for each in started:
        each.destroy()
