"""The frozen types that the steps hand to each other. Standard library only; nothing here does anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """A service's (and, worst first, a stack's) state; the contract of `status --json`."""

    PENDING = "pending"
    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class ServiceKind(StrEnum):
    """What a service is in the chain."""

    ENGINE = "engine"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Fact:
    """One decided value and where it came from, for `render --explain`.

    `origin` is `flag`, `environment`, `file`, `default`, `hardware`, `catalogue` or `model`; `detail` names it
    further (`--model`, `STACKCTL_MODEL`, `stack.yaml`, a source). `engine` is the engine that it is about, if any.
    """

    name: str
    value: str
    origin: str
    detail: str = ""
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One bounded HTTP request that proves one thing: it succeeds when the answer has status 200.

    `timeout` is in seconds and covers the whole exchange. `headers` may hold keys: never print one.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Any = None
    timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class Work:
    """How to see that a service works, where its readiness does not tell.

    `counters` answers with Prometheus' text; a change in any of the metrics named in `progress` shows work. `request`
    is a tiny one that goes all the way through the service; only one that is never answered, with no progress
    meanwhile, speaks against it.
    """

    counters: Probe
    progress: tuple[str, ...]
    request: Probe


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One service to supervise; all that the supervisor knows of it.

    `env` is the whole environment (nothing is inherited). `ready` must be answered from a listening socket
    (`host`:`port`) that belongs to the service's own process tree. `grace` is the time in seconds between TERM and
    KILL. `start_timeout` is how long in seconds a start may go *without progress* (log growth or CPU time),
    `start_cap` how long at all: one that spins for ever makes progress too. `after` are services that must be ready before
    this one starts.
    """

    name: str
    kind: ServiceKind
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    log: str
    host: str
    port: int
    ready: Probe
    model: str = ""
    window: int | None = None
    grace: float = 10.0
    start_timeout: float = 600.0
    start_cap: float = 7200.0
    work: Work | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """One route beside the default: `name` as configured (`opus`, or a model name), `model` as clients ask for it.

    `served` is what really answers; `engine` is the engine's name, empty for a hosted model. `window` and `output_limit`
    are in tokens, None when they are not known. `vision` says whether it reads pictures, None where nobody knows. `problem` is why one
    that leads off this machine gave no token when the stack was proved, empty when it did.
    """

    name: str
    model: str
    served: str
    engine: str = ""
    window: int | None = None
    output_limit: int | None = None
    vision: bool | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What a client must know of a running stack; written to the state file, read by `env` and `launch`.

    `window` and `output_limit` are in tokens and the default route's; `window` is None when the engine does not say.
    `vision` says whether that model reads pictures, None where nobody knows.
    `routes` are the others.
    """

    url: str
    model: str
    served: str
    window: int | None
    output_limit: int
    timeout: int = 600
    routes: tuple[RouteFacts, ...] = ()
    vision: bool | None = None

    @classmethod
    def from_data(cls, raw: Mapping[str, Any]) -> ClientFacts:
        """Read back what `dataclasses.asdict` made of it. Raises KeyError or TypeError for anything else."""
        return cls(**{**raw, "routes": tuple(RouteFacts(**each) for each in raw.get("routes", ()))})


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says. `evidence` are the lines that prove it; `remedy` the next thing to type or do.

    `hop` is the part of the chain that it blames, `docs` its anchor in docs/TROUBLESHOOTING.md, `fix` the name of a
    repair. A warning that `blocks` says what the checks that need this one would only say again. `by_hand` is the remedy
    for a server that stackctl did not start, `service` the one that it is about; empty where that is no other, or not known.
    """

    id: str
    status: Status
    cause: str = ""
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    hop: str = ""
    docs: str = ""
    fix: str = ""
    blocks: bool = True
    by_hand: str = ""
    service: str = ""

    @property
    def bad(self) -> bool:
        """Whether something should be done about it: it is broken, or a warning."""
        return self.status in {Status.FAIL, Status.WARN}
