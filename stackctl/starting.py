"""From a plan to a verified stack: what is said while it starts, and the cause when it does not."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from stackctl import output
from stackctl.catalog import symptoms
from stackctl.errors import INTERRUPTED, TERMINATED, StackError
from stackctl.model import State
from stackctl.progress import Follower
from stackctl.supervisor import Ended, Ready, ServiceChanged, Stopping, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackctl.model import ClientFacts, ProcessSpec
    from stackctl.supervisor import Event

_TAIL = 12  # lines of the log that a failure shows


class Narrator:
    """Turns a supervisor's events into lines for people; `on_ready` is called once, with the proof."""

    def __init__(self, specs: Sequence[ProcessSpec], on_ready: Callable[[ClientFacts], None]) -> None:
        self._began = time.monotonic()
        self._on_ready = on_ready
        self._followers = {spec.name: Follower(spec.log, spec.kind, start=_size(spec.log)) for spec in specs}

    def __call__(self, event: Event) -> None:
        """Tell one event."""
        if isinstance(event, Tick):
            for name, follower in self._followers.items():
                for phase in follower.poll():
                    self._step(name, phase.text)
        elif isinstance(event, ServiceChanged):
            detail = f": {event.detail}" if event.detail else ""
            self._step(event.name, f"{event.state}{detail}")
        elif isinstance(event, Ready):
            self._step("stack", "ready: a real token came through the gateway")
            self._on_ready(event.client)
        elif isinstance(event, Stopping):
            self._step("stack", "stopping at once" if event.immediate else "stopping")

    def _step(self, who: str, text: str) -> None:
        output.step(who, text, time.monotonic() - self._began)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def exit_code(ended: Ended, specs: Sequence[ProcessSpec], engine: str) -> int:
    """The exit code of a run that ended by request. Raises StackError, with the cause, for one that failed."""
    if ended.state is not State.FAILED:
        return INTERRUPTED if ended.signum == 2 else TERMINATED if ended.signum else 0
    if ended.stuck:
        output.warn(f"these processes would not die (the kernel holds them): {', '.join(map(str, ended.stuck))}")
    raise failure(ended, specs, engine)


def failure(ended: Ended, specs: Sequence[ProcessSpec], engine: str) -> StackError:
    """The cause of a failed run, from the supervisor and from the service's log."""
    if ended.error is not None:
        return ended.error
    spec = next((each for each in specs if each.name == ended.service), None)
    tail = tuple(ended.tail[-_TAIL:])
    if spec is None:
        return StackError(
            ended.reason or "the stack failed", remedy="read the logs: stackctl status names them", evidence=tail
        )
    if ended.oom:
        return StackError(
            f"the {spec.name} was killed because the machine (or its container) ran out of memory",
            remedy="close what holds memory, or choose a smaller or quantised model or a shorter max_model_len",
            evidence=tail,
        )
    text = "\n".join(ended.tail)
    cause = symptoms.diagnose_file(spec.kind, spec.log, engine=engine) if os.path.exists(spec.log) else None
    if cause is not None:
        return StackError(f"the {spec.name} did not start: {cause.sentence}", remedy=cause.remedy, evidence=tail)
    said = symptoms.last_error(text)
    reason = f"{ended.reason}: {said}" if said else ended.reason
    return StackError(f"the {spec.name} failed: {reason}", remedy=f"the whole log is {spec.log}", evidence=tail)
