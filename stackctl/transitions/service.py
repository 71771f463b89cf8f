"""One service as the table sees it: where it is, since when, and how patient one is with it."""

from __future__ import annotations

from dataclasses import dataclass

from stackctl.model import State
from stackctl.transitions.events import Answer


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patient the supervisor is; all times in seconds.

    A crash loop ends at `max_starts` starts within `window`, or that many in a row that never became ready: systemd
    gives up after 5 in 10 s, which a model that loads for a minute never reaches. Slow health alone never restarts
    a busy engine (30 to 40 s of it were seen under load): `busy_after` counts then, not `hang_after`.

    Work is looked at every `work_every`; `work_after` requests in a row without an answer in `work_timeout` and without
    any progress are a hang: found 12 to 25 s after it began, and `busy_after` where CPU time is used. While nobody is
    connected nothing can hang, and it is asked for a token only every `idle_every`.
    """

    max_starts: int = 5
    window: float = 600.0
    backoff: float = 1.0
    backoff_max: float = 30.0
    jitter: float = 0.2
    probe_start: float = 0.2
    probe_ready: float = 2.0
    probe_timeout: float = 3.0
    unready_after: int = 2
    broken_after: float = 3.0
    hang_after: float = 12.0
    busy_after: float = 300.0
    stranger_after: float = 2.0
    work_every: float = 6.0
    work_timeout: float = 6.0
    work_after: int = 2
    idle_every: float = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """One service at one moment. Times are monotonic seconds.

    `deep` says that its work can be looked at, beside its readiness.
    `alive` says that its tree is not known to be empty; `settled` that the stack has once been ready with it.
    `requested` is how many restarts somebody asked for.
    """

    policy: RestartPolicy
    start_timeout: float
    start_cap: float = 7200.0
    deep: bool = False
    state: State = State.PENDING
    why: str = ""
    alive: bool = False
    settled: bool = False
    starts: tuple[float, ...] = ()
    requested: int = 0
    attempts: int = 0
    began_at: float = 0.0
    progress_at: float = 0.0
    ok_at: float = 0.0
    busy_at: float = float("-inf")
    stopped_at: float | None = None
    stranger_at: float | None = None
    failures: int = 0
    last: Answer = Answer.OK
    probing: bool = False
    probe_at: float = 0.0
    retry_at: float = 0.0
    forgiven_at: float = float("-inf")
    working: bool = False
    work_at: float = 0.0
    worked_at: float = 0.0
    work_failures: int = 0

    @property
    def restarts(self) -> int:
        """How many times it was started again."""
        return max(0, len(self.starts) - 1)
