"""What a supervisor tells: while it runs, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from stackctl.errors import StackError

if TYPE_CHECKING:
    from stackctl.model import ClientFacts, State
    from stackctl.runstate import ServiceRecord, StackState


@dataclass(frozen=True, slots=True)
class ServiceChanged:
    """A service has another state now; `detail` says why, in words."""

    name: str
    state: State
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """A real token has come through the stack."""

    client: ClientFacts


@dataclass(frozen=True, slots=True)
class Stopping:
    """The stack is going down, by a signal (None: by itself)."""

    signum: int | None
    immediate: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed during start-up: a good moment to look at the logs."""

    services: tuple[ServiceRecord, ...]


Event: TypeAlias = ServiceChanged | Ready | Stopping | Tick


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    `state` is STOPPED (asked to: `signum` says by what) or FAILED. For a failed start `service` is the one that
    failed (None: the proof through the gateway did), with its `exit_code` or `signal`, its log, the last lines of
    this start, and `reason`; `oom` says that the kernel killed for lack of memory. `stuck` are pids that would not die.
    """

    state: State
    signum: int | None = None
    reason: str = ""
    service: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    log: str = ""
    tail: tuple[str, ...] = ()
    oom: bool = False
    error: StackError | None = None
    stuck: tuple[int, ...] = ()


class AlreadyRunning(StackError):  # noqa: N818 - it is an answer, not an accident
    """Another supervisor has this stack; `state` is what it says of itself, None while it has said nothing yet."""

    def __init__(self, name: str, state: StackState | None) -> None:
        by = f" (pid {state.supervisor.pid})" if state is not None and state.supervisor is not None else ""
        super().__init__(f"the stack `{name}` already runs{by}", remedy="stackctl status")
        self.state = state
