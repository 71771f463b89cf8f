"""Signs of life of a process tree: CPU time, bytes moved, stopped processes, kills by the kernel for lack of memory."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stackctl.identity import ProcessRow

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_BUSY = 0.1  # of a core: idle servers, their timers and watchers included, were seen at up to 0.06
_MOVED = 1 << 20  # bytes between two looks: a load from a slow disk uses little CPU but goes on


@dataclass(frozen=True, slots=True)
class Vitals:
    """A tree at one moment: `at` in seconds (monotonic), CPU in clock ticks, input and output and log in bytes."""

    at: float
    cpu_ticks: int
    moved: int
    log_size: int
    stopped: bool

    def grew_since(self, before: Vitals) -> bool:
        """Say whether anything shows progress: the log, CPU time or bytes read and written."""
        return self.log_size > before.log_size or self.busy_since(before)

    def busy_since(self, before: Vitals) -> bool:
        """Say whether the tree worked: a tenth of a core, or a megabyte moved (a process that ended counts as work)."""
        cpu = (self.cpu_ticks - before.cpu_ticks) / TICKS_PER_SECOND
        return cpu >= _BUSY * max(self.at - before.at, 0.5) or abs(self.moved - before.moved) >= _MOVED


def take(rows: Sequence[ProcessRow], log: str, now: float) -> Vitals:
    """Look at the processes in `rows` and the size of `log`."""
    size = 0
    with contextlib.suppress(OSError):
        size = os.stat(log).st_size
    return Vitals(
        now,
        sum(each.cpu_ticks for each in rows),
        sum(_moved(each.pid) for each in rows),
        size,
        any(each.state == "T" for each in rows),
    )


def _moved(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/io", "rb") as counters:
        return sum(int(line.split()[1]) for line in counters if line.startswith((b"rchar", b"wchar", b"read_bytes")))
    return 0


def memory(pids: Iterable[int]) -> int:
    """Bytes of memory that these processes hold; what they share is counted once (smaps_rollup, proc(5)).

    Where the kernel does not tell the shares, the resident size is taken.
    """
    return sum(_held(each) for each in pids)


def _held(pid: int) -> int:
    for name, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/{name}") as lines:
            for line in lines:
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
    return 0


def oom_kills(pid: int) -> int:
    """Count the kills for lack of memory so far: of the cgroup of `pid` where it tells, else of the whole machine."""
    for path in [*_cgroup_files(pid), "/proc/vmstat"]:
        with contextlib.suppress(OSError, ValueError, IndexError), open(path) as lines:
            for line in lines:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def _cgroup_files(pid: int) -> list[str]:
    found = []
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup") as lines:
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if not controllers:
                found.append(f"/sys/fs/cgroup{path}/memory.events")
            elif "memory" in controllers.split(","):
                found.append(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    return found
