"""Drill: the kernel kills an engine for lack of memory, in a control group of its own: named as such, and healed."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stackctl import identity
from tests.drills.harness import Stack, engine, gateway, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.drill
LIMITS = {
    "cgroup/memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    "cgroup": ("memory.max", "memory.swap.max"),
}
MOST = 256 << 20  # bytes; the stand-ins, their guards and the supervisor need about 100 MB


def group() -> Path | None:
    """A new control group with a limit; None where this user may make none (a container, an ordinary user)."""
    for root, (limit, swap) in LIMITS.items():
        made = Path("/sys/fs", root, f"stackctl-drill-{os.getpid()}")
        try:
            made.mkdir()
            (made / limit).write_text(str(MOST))
        except OSError:
            with contextlib.suppress(OSError):
                made.rmdir()
            continue
        try:
            (made / swap).write_text("0" if swap == "memory.swap.max" else str(MOST))
        except OSError:  # not counted, or there is none
            if "SwapTotal:              0 kB" not in Path("/proc/meminfo").read_text():
                made.rmdir()
                continue
        return made
    return None


def _removed(made: Path) -> bool:
    with contextlib.suppress(OSError):
        made.rmdir()
    return not made.exists()


GROUP = group()
if GROUP is not None:  # made when the tests are collected: whether it can be is known only then
    GROUP.rmdir()

    @pytest.fixture
    def limited() -> Iterator[Path]:
        made = group()
        assert made is not None
        yield made
        for pid in (made / "cgroup.procs").read_text().split():  # the stacks are destroyed after this
            with contextlib.suppress(OSError):  # it has just ended
                (made.parent / "cgroup.procs").write_text(pid)
        until(lambda: _removed(made), 10, "the group is empty")

    def test_out_of_memory_is_named_as_such_and_healed(up: Callable[..., Stack], limited: Path) -> None:
        stack = up(engine(), gateway(), backoff=0.1).ready()
        (limited / "cgroup.procs").write_text(str(stack.popen.pid))  # what it starts from now on is in it too
        identity.send(stack.tree("engine")[0], signal.SIGKILL)
        stack.saw("ServiceChanged", 20, name="engine", state="ready", times=2)
        stack.ask("engine", "/eat", "POST", timeout=30)
        stack.saw("ServiceChanged", 20, name="engine", state="restarting", times=2)
        why = stack.find("ServiceChanged", name="engine", state="restarting")[1]["detail"]
        assert why == "the kernel killed a process of it for lack of memory"
        stack.saw("ServiceChanged", 20, name="engine", state="ready", times=3)
        print("drill +: killed by the kernel for lack of memory: named as such, restarted")
