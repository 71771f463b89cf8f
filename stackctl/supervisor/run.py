"""A service as it is run."""

from __future__ import annotations

import signal
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stackctl.model import State
from stackctl.runstate import ServiceRecord
from stackctl.transitions import RestartPolicy, Service

if TYPE_CHECKING:
    from stackctl import identity, process, vitals
    from stackctl.model import ProcessSpec


@dataclass(slots=True)
class Run:
    """A service with its record, its process and what was last seen of it."""

    spec: ProcessSpec
    service: Service
    record: ServiceRecord
    child: process.Child | None = None
    mark: str = ""
    start: int = 0  # its number among all starts: a look at the work of an earlier one is not listened to
    counters: tuple[str, ...] | None = None  # of its work, as seen last
    asked_at: float = float("-inf")  # when it was last asked for work, or seen at it
    generation: int = 0  # of probes: an answer of an earlier one is not listened to
    members: list[identity.Identity] = field(default_factory=list)
    before: vitals.Vitals | None = None
    sampled_at: float = float("-inf")
    ooms: deque[tuple[float, int]] = field(default_factory=deque)
    exit_code: int | None = None
    signal: int | None = None
    oom: bool = False
    empty: bool = False
    killed_by_us: bool = False
    logged: int = 0  # size in bytes of its log at the last look

    @classmethod
    def of(cls, spec: ProcessSpec, policy: RestartPolicy) -> Run:
        """A service before its first start."""
        service = Service(policy, spec.start_timeout, spec.start_cap, deep=spec.work is not None)
        record = ServiceRecord(
            spec.name, spec.kind, State.PENDING, spec.port, spec.log, spec.model, spec.window, since=time.time()
        )
        return cls(spec, service, record)

    def how_it_ended(self) -> str:
        """Say how a leader ended."""
        if self.oom:
            return "the kernel killed a process of it for lack of memory"
        if self.signal is not None:
            return f"it was killed by signal {self.signal} ({signal.strsignal(self.signal)})"
        return f"it ended with exit code {self.exit_code}"
