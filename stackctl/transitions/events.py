"""What a service's supervisor can be told, and what it can be told to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias


class Do(Enum):
    """What the supervisor is asked to do."""

    START = auto()
    PROBE = auto()
    WORK = auto()
    TERMINATE = auto()
    KILL = auto()


class Answer(Enum):
    """How a readiness probe ended."""

    OK = auto()
    REFUSED = auto()  # nobody listens
    SILENT = auto()  # no answer in time
    BROKEN = auto()  # an answer, but not 200: it says itself that it is not well
    STRANGER = auto()  # an answer from a process that is not ours


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """It could not be started at all."""

    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The leader has ended; the rest of its tree is being taken down."""

    why: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The last process of the tree has ended."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A probe has ended."""

    answer: Answer
    why: str = ""


@dataclass(frozen=True, slots=True)
class Worked:
    """A look at the work has ended: its counters moved or a request came through; or neither did."""

    hung: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sampled:
    """The tree was looked at: it made progress, it works, one of its processes is stopped (SIGSTOP)."""

    grew: bool
    busy: bool
    stopped: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """The whole stack has been ready: from now on this service is restarted instead of failing the start."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The machine slept, or we were stopped: what was measured before means nothing."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Somebody asked for a restart: gently, now, and no reason to suspect a crash loop."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Gently when `immediate` is false."""

    immediate: bool = False


Event: TypeAlias = Tick | SpawnFailed | Ended | Gone | Answered | Worked | Sampled | Settled | Resumed | Restart | Stop
