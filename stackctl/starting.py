"""From a plan to a verified stack: what is said while it starts, and the cause when it does not."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from stackctl import logtext, notify, output, process, redact, render, runstate, supervise
from stackctl import paths as where
from stackctl.catalog import symptoms
from stackctl.errors import INTERRUPTED, TERMINATED, InterruptedByUser, StackError
from stackctl.model import ServiceKind, State
from stackctl.paths import StackPaths
from stackctl.progress import Follower
from stackctl.stopping import stop
from stackctl.supervisor import AlreadyRunning, Ended, Ready, ServiceChanged, Stopping, Tick

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

    from stackctl.model import ClientFacts, ProcessSpec
    from stackctl.supervise import Order
    from stackctl.supervisor import Event

_TAIL = 12  # lines of the log that a failure shows
_SAID = 300  # characters of the last line of a log that a message quotes
_LOOK = 0.3  # seconds between looks at the logs of a stack that a detached supervisor starts
_SUPERVISOR_ENV = frozenset({  # it starts nothing with its own environment: the order holds that of the services
    *("HOME", "LANG", "LC_ALL", "PATH", "STACKCTL_ENVS", "STACKCTL_HOME", "USER", "XDG_CONFIG_HOME", "XDG_STATE_HOME"),
    *("SSL_CERT_DIR", "SSL_CERT_FILE"),
})  # fmt: skip


class Narrator:
    """Turns a supervisor's events into lines for people; `on_ready` is called once, with the proof."""

    def __init__(self, specs: Sequence[ProcessSpec], on_ready: Callable[[ClientFacts], None]) -> None:
        self._began = time.monotonic()
        self._on_ready = on_ready
        self.log_starts = {spec.name: _size(spec.log) for spec in specs}  # what an earlier run wrote is before it
        self._followers = {spec.name: Follower(spec.log, spec.kind, start=self.log_starts[spec.name]) for spec in specs}

    def __call__(self, event: Event) -> None:
        """Tell one event."""
        if isinstance(event, Tick):
            for name in self._followers:
                self._phases(name)
        elif isinstance(event, ServiceChanged):
            self._phases(event.name)  # what it came to before it changed
            detail = f": {event.detail}" if event.detail else ""
            self._step(event.name, f"{event.state}{detail}")
        elif isinstance(event, Ready):
            routes = " and every route" if any(each.engine and not each.problem for each in event.client.routes) else ""
            self._step("stack", f"ready: a real token came through the gateway{routes}")
            for route in event.client.routes:
                if route.problem:
                    self._step(
                        "stack", f"route {route.name} ({route.engine or route.served}): no token: {route.problem}"
                    )
                elif not route.engine:
                    self._step("stack", f"route {route.name} ({route.served}): answers, with one token")
            self._on_ready(event.client)
        elif isinstance(event, Stopping):
            self._step("stack", "stopping at once" if event.immediate else "stopping")

    def _phases(self, name: str) -> None:
        for phase in self._followers[name].poll():
            self._step(name, phase.text)

    def _step(self, who: str, text: str) -> None:
        output.step(who, text, time.monotonic() - self._began)


def foreground(order: Order, narrator: Narrator) -> Ended:
    """Supervise in this process until the stack has ended. Raises AlreadyRunning when another one has the stack."""

    def notifying(event: Event) -> None:  # systemd waits for it (Type=notify)
        _notify(event, order.gateway_url)
        narrator(event)

    return supervise.supervisor(order, notifying).run()


def _notify(event: Event, url: str) -> None:
    if isinstance(event, Ready):
        notify.send("READY=1", f"STATUS=ready at {url}")
    elif isinstance(event, Stopping):
        notify.send("STOPPING=1", "STATUS=stopping")
    elif isinstance(event, ServiceChanged):
        notify.send(f"STATUS={event.name}: {event.state}" + (f" ({event.detail})" if event.detail else ""))


def detached(order: Order, narrator: Narrator) -> Ended | None:
    """Start a supervisor that outlives us and watch until the stack is ready: None; or how its start ended.

    Raises AlreadyRunning when another one has the stack. Ctrl-C and TERM stop what was being started.
    """
    paths = StackPaths(order.name)
    argv = [sys.executable, "-P", "-m", "stackctl.supervise"]
    env = {name: value for name, value in os.environ.items() if name in _SUPERVISOR_ENV}
    env |= {"STACKCTL_HOME": where.home(), "STACKCTL_ENVS": where.envs_dir()} if "STACKCTL_HOME" in env else {}
    child, events = process.detach(argv, order=order.as_json().encode(), log=paths.log("supervisor"), env=env)
    try:
        return _watch(child, events, narrator, order, paths)
    except (KeyboardInterrupt, InterruptedByUser):
        output.note("stackctl: stopping what was being started")
        child.terminate()  # it may not hold the stack's lock yet
        stop(paths)
        raise
    finally:
        os.close(events)


def _watch(
    child: subprocess.Popen[bytes], events: int, narrator: Narrator, order: Order, paths: StackPaths
) -> Ended | None:
    poll = select.poll()
    poll.register(events, select.POLLIN)
    rest = b""
    while True:
        narrator(Tick(()))
        if not poll.poll(_LOOK * 1000):
            continue
        raw = os.read(events, 65536)
        if not raw:
            signum = -child.wait()
            if signum in {signal.SIGTERM, signal.SIGQUIT}:  # `down`, before it listened to signals
                return Ended(State.STOPPED, signum=signum)
            said = logtext.tail(paths.log("supervisor")).strip().splitlines()
            return Ended(State.FAILED, reason="the supervisor ended without a word", tail=tuple(said[-_TAIL:]))
        *lines, rest = (rest + raw).split(b"\n")
        for text in lines:
            event = supervise.parse(text.decode())
            if event is None:
                raise AlreadyRunning(order.name, runstate.running(paths))
            if isinstance(event, Ended):
                return event
            narrator(event)
            if isinstance(event, Ready):
                return None


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def exit_code(
    ended: Ended, specs: Sequence[ProcessSpec], engines: Mapping[str, str], log_starts: Mapping[str, int]
) -> int:
    """The exit code of a run that ended by request. Raises StackError, with the cause, for one that failed.

    `log_starts` are the sizes in bytes that the logs had before: what earlier runs said is no cause of this failure.
    """
    if ended.state is not State.FAILED:
        return INTERRUPTED if ended.signum == 2 else TERMINATED if ended.signum else 0
    if ended.stuck:
        output.warn(f"these processes would not die (the kernel holds them): {', '.join(map(str, ended.stuck))}")
    raise failure(ended, specs, engines, log_starts)


def failure(
    ended: Ended, specs: Sequence[ProcessSpec], engines: Mapping[str, str], log_starts: Mapping[str, int]
) -> StackError:
    """The cause of a failed run, from the supervisor and from the service's log.

    `engines` are the names that engines have in the configuration, by their services'.
    """
    if ended.error is not None:
        return ended.error
    spec = next((each for each in specs if each.name == ended.service), None)
    clean = redact.cleaner(secret for each in specs for secret in redact.secrets_in(each.env))
    tail = tuple(clean(line) for line in ended.tail[-_TAIL:])
    if spec is None:
        return StackError(ended.reason or "the stack failed", remedy="stackctl logs", evidence=tail)
    who = f"engine `{spec.name}`" if spec.kind is ServiceKind.ENGINE and len(engines) > 1 else spec.name
    if ended.oom:
        return StackError(
            f"the {who} was killed because the machine (or its container) ran out of memory",
            remedy="close what holds memory, or choose a smaller or quantised model or a shorter max_model_len",
            evidence=tail,
        )
    cause = symptoms.diagnose_file(
        spec.kind, spec.log, start=log_starts.get(spec.name, 0), engine=engines.get(spec.name, spec.name)
    )
    own = render.override() if spec.kind is ServiceKind.GATEWAY else None
    if cause is not None:
        remedy = cause.remedy if own is None else f"{cause.remedy}; its configuration comes from your template {own}"
        return StackError(f"the {who} did not start: {clean(cause.sentence)}", remedy=remedy, evidence=tail)
    said = symptoms.last_error("\n".join(ended.tail)) or next(filter(None, map(str.strip, reversed(ended.tail))), "")
    reason = f"{ended.reason}: {clean(said)[:_SAID]}" if said else ended.reason
    remedy = f"the whole log is {spec.log}"
    if own is not None:
        remedy = f"its configuration comes from your template: correct or remove {own}; {remedy}"
    return StackError(f"the {who} failed: {reason}", remedy=remedy, evidence=tail)
