"""Drills of the second week: what grows when a stack is started, restarted and stopped very often."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from stackctl.commands import restart
from stackctl.supervisor import stop
from tests.drills.harness import Stack, engine, gateway

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.drill


def files_below(root: str) -> int:
    return sum(len(names) for _, _, names in os.walk(root))


def starts_and_stops(up: Callable[..., Stack], rounds: int) -> None:
    services = engine(), gateway()
    began = time.monotonic()
    files: set[int] = set()
    handles: set[int] = set()
    for _ in range(rounds):
        stack = up(*services).ready()
        assert stop(stack.paths, timeout=20).clean
        stack.popen.wait(60)
        assert stack.left() == []
        stack.no_files_left()
        files.add(files_below(stack.paths.root))
        handles.add(len(os.listdir(f"/proc/{os.getpid()}/fd")))
    assert len(files) == 1
    assert max(handles) - min(handles) <= 3
    each = (time.monotonic() - began) / rounds
    print(f"drill 27: {rounds} cycles: no growth of files, descriptors or processes, {each:.2f} s each")


def restarts(up: Callable[..., Stack], rounds: int) -> None:
    stack = up(engine(grace=1), gateway()).ready()

    def cost() -> tuple[int, int]:
        with open(f"/proc/{stack.popen.pid}/status") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        return len(os.listdir(f"/proc/{stack.popen.pid}/fd")), resident

    for _ in range(3):
        restart.one("engine", None, None)
    before = cost()
    for _ in range(rounds):
        restart.one("engine", None, None)
    after = cost()
    assert after[0] <= before[0] + 1  # the control socket's connection may still be there
    assert after[1] - before[1] <= 1024 + 8 * rounds
    print(
        f"drill +: {rounds} restarts below one supervisor: {after[0] - before[0]:+d} descriptors, {after[1] - before[1]:+d} kB"
    )


def test_a_few_starts_and_stops(up: Callable[..., Stack]) -> None:
    starts_and_stops(up, 5)


def test_a_few_restarts(up: Callable[..., Stack]) -> None:
    restarts(up, 6)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_hundred_starts_and_stops(up: Callable[..., Stack]) -> None:
    starts_and_stops(up, 200)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_restarts(up: Callable[..., Stack]) -> None:
    restarts(up, 100)
