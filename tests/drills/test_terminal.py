"""Drills 11 and 22 by the command line: a taken port, a terminal that is closed."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from stackctl import identity
from stackctl.model import Probe
from stackctl.probe import request
from tests.drills.harness import PATIENCE
from tests.fakes import stack
from tests.fakes.home import Home, until
from tests.fakes.ports import free_port
from tests.fakes.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.drill


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path)
    yield found
    found.close()


def processes(home: Home) -> list[str]:
    return [each for each in stack.leftovers(home.state) if each.startswith("process")]


def test_a_port_that_is_taken(home: Home) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        file = home.config(port=squatter.getsockname()[1])
        home.run("up", "-d", "--yes", "-c", file, expect=3)  # whatever is to be compiled has been
        began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        said = home.run("up", "-d", "--yes", "-c", file, expect=3).stderr
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        worked = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    assert f"(pid {os.getpid()})" in said
    assert "is held by" in said
    assert worked < 1 * PATIENCE  # of a core; what the clock says depends on who else is running
    assert processes(home) == []
    print(f"drill 11: the holder named after {took:.2f} s ({worked:.2f} s of a core), Python's own start included")


def test_a_terminal_that_is_closed_takes_a_foreground_stack_along(home: Home) -> None:
    file = home.config(port=free_port())
    terminal = Terminal(home.argv("up", "--yes", "-c", file), home.environment(), home.root)
    home.started.append("default")
    try:
        terminal.read("the stack runs until Ctrl-C")
        assert home.data("status")["state"] == "ready"
    finally:
        closing = time.monotonic()
        terminal.hang_up()
    until(lambda: not processes(home), 20, "nothing is left")
    print(f"drill 22: foreground: 0 left {time.monotonic() - closing:.1f} s after the terminal was closed")
    home.run("status", expect=4)


def test_a_terminal_that_is_closed_leaves_a_detached_stack_alone(home: Home) -> None:
    file = home.config(port=free_port())
    terminal = Terminal(home.argv("up", "-d", "--yes", "-c", file), home.environment(), home.root)
    home.started.append("default")
    terminal.read("runs in the background")
    before = home.data("status")
    terminal.hang_up()
    time.sleep(2)  # nothing must happen: there is no condition to wait for
    after = home.data("status")
    assert after["supervisor"] == before["supervisor"]
    assert [each["pid"] for each in after["services"]] == [each["pid"] for each in before["services"]]
    assert request(Probe(f"{after['gateway_url']}/health", timeout=5)).ok
    print("drill 22: detached: the same processes answer after the terminal was closed")


def test_a_supervisor_that_is_hung_up_in_the_background_goes_on(home: Home) -> None:
    """Some terminals signal everything below them, also what has a session of its own."""
    data = home.up()
    supervisor = identity.of(data["supervisor"]["pid"])
    assert supervisor is not None
    identity.send(supervisor, signal.SIGHUP)
    time.sleep(1.5)
    assert home.data("status")["supervisor"] == data["supervisor"]
