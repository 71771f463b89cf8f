"""Drills: a service that floods its log, on a large disk and on a tiny one."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from stackctl import logfile, process
from stackctl.supervisor import stop
from tests.drills.harness import PATIENCE, Stack, engine, gateway, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.drill

MB = 1 << 20


def flooded(stack: Stack, seconds: float, cap: int, rate: int) -> tuple[int, int, float]:
    """Ask for tokens while the log is flooded at `rate` MB/s; return the answered, the refused lines and the most MB on disk."""
    log = stack.paths.log("engine")
    began = time.monotonic()
    seen: list[int] = []
    while time.monotonic() - began < seconds or len(seen) < 20:
        assert stack.ask("engine", "/work", "POST").ok
        seen.append(os.stat(log).st_blocks * 512)
        time.sleep(0.05)
    # between two looks of the supervisor it grows by what is written in that time, which is far below a second; a loaded
    # machine may hold it up, though not for most of the drill
    asked, most = len(seen), max(seen)
    assert statistics.median(seen) <= cap + rate * MB
    assert most <= cap + PATIENCE * rate * MB
    refused = int(stack.ask("engine", "/metrics").body.split()[-1])
    assert stack.record("engine").restarts == 0
    assert stack.state().state == "ready"
    return asked, refused, most / MB


def test_a_flooded_log_stays_at_its_cap_with_the_newest_kept(up: Callable[..., Stack]) -> None:
    stack = up(engine("--flood", "20"), gateway(), log_cap=4 * MB).ready()
    follower = logfile.Reader(stack.paths.log("engine"))
    follower.last(0)
    asked, refused, most = flooded(stack, 4, 4 * MB, 20)
    assert refused == 0
    until(lambda: os.stat(stack.paths.log("engine")).st_size > 40 * MB, 10, "all of it went through")
    assert process.tail(stack.paths.log("engine"))[-1].startswith("flood ")
    assert stop(stack.paths, timeout=20).clean
    print(f"drill +: log flood of 20 MB/s: {most:.1f} MB on disk at a cap of 4 MB, {asked}/{asked} answered")
    again = up(*stack.services, log_cap=4 * MB).ready()  # a start begins with a log of the size that it shows
    assert again.record("engine").log_from <= 4 * MB


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB for the stack's directory; root may mount one."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "none", str(home)], check=True, timeout=10)
    yield home
    until(lambda: subprocess.run(["umount", str(home)], check=False, timeout=10).returncode == 0, 10, "unmounted")


def flood_on_a_tiny_disk(tiny: Path, up: Callable[..., Stack]) -> None:
    stack = up(engine("--flood", "5"), gateway()).ready()
    asked, refused, most = flooded(stack, 10, 2 * MB, 5)
    assert refused == 0
    print(f"drill 19: {most:.1f} MB on disk, {asked}/{asked} answered")


def full_disk(tiny: Path, up: Callable[..., Stack]) -> None:
    stack = up(engine("--chatty"), gateway()).ready()
    with (tiny / "filler").open("wb", buffering=0) as filler:
        written = 0
        try:
            while True:
                written += filler.write(bytes(4096))
        except OSError:
            pass
    asked = 0
    until_then = time.monotonic() + 6
    while time.monotonic() < until_then:
        asked += 1
        assert stack.ask("gateway", "/work", "POST").ok
        time.sleep(0.1)
    assert stack.state().state == "ready"
    assert not stack.state().recovered
    assert stop(stack.paths, timeout=20).clean
    assert stack.left() == []
    print(f"drill 20: {asked}/{asked} answered, state readable, down leaves 0")


if os.geteuid() == 0:  # only root can mount a disk

    def test_a_flood_on_a_tiny_disk(tiny: Path, up: Callable[..., Stack]) -> None:
        flood_on_a_tiny_disk(tiny, up)

    def test_a_full_disk_stops_nothing(tiny: Path, up: Callable[..., Stack]) -> None:
        full_disk(tiny, up)
