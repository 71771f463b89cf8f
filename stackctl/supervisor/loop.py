"""One loop that starts services, proves them ready, heals them and takes them down.

It knows nothing of language models. What a service's state becomes is decided by the pure table in
`transitions`, which `executor` feeds; here is what concerns the stack as a whole: signals, clocks, its proof and its end.
Imports are kept light: this is what lives on, for weeks, beside the model.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stackctl import control, files, identity, logfile, runstate, survivors, transitions
from stackctl.errors import StackError
from stackctl.model import ClientFacts, ServiceKind, State
from stackctl.runstate import StackState, lastfailure
from stackctl.supervisor import clocks, logcaps
from stackctl.supervisor.ending import Ending
from stackctl.supervisor.events import Ended, Event, Ready, Stopping, Tick
from stackctl.supervisor.executor import Executor
from stackctl.supervisor.inbox import Inbox, Note
from stackctl.supervisor.logcaps import LogCaps
from stackctl.supervisor.run import Run
from stackctl.supervisor.store import Store
from stackctl.transitions import RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackctl.model import ProcessSpec
    from stackctl.paths import StackPaths


_TICK_START = 0.2  # seconds between looks while something starts or stops
_TICK_READY = 1.0
_VERIFY = 330.0  # seconds; the request inside has its own, shorter deadline


class Supervisor:
    """Runs the services of one stack until it is told to stop, or their start fails."""

    def __init__(
        self,
        paths: StackPaths,
        plan_digest: str,
        specs: Sequence[ProcessSpec],
        *,
        gateway_url: str,
        on_event: Callable[[Event], None],
        verify: Callable[[], ClientFacts],
        prepare: Callable[[], None] = lambda: None,
        notice: Callable[[], str] = str,
        restart: RestartPolicy | None = None,
        log_cap: int = logfile.MOST,
    ) -> None:
        self._paths = paths
        self._on_event = on_event
        self._verify = verify
        self._prepare = prepare  # writes what the services read, once nobody else can be starting this stack
        policy = restart or RestartPolicy()
        self._runs = [Run.of(each, policy) for each in specs]
        self._state = StackState(
            paths.name,
            plan_digest,
            gateway_url,
            identity.mine(),
            boot_id=identity.boot_id(),
            hostname=socket.gethostname(),
            services=[run.record for run in self._runs],
        )
        self._store = Store(paths, self._state, on_lost=self._lost)
        self._caps = LogCaps(log_cap)
        self._inbox = Inbox()
        self._executor = Executor(
            paths, self._runs, policy, self._state, self._store, self._caps, self._inbox, notice=notice, tell=self._tell
        )
        self._control: socket.socket | None = None
        self._verifying_since: float | None = None
        self._ending = Ending()
        self._ended: Ended | None = None
        self._clocks = (0.0, 0.0)
        self._ticked_at = float("-inf")

    # --- for others -------------------------------------------------------------------------------------------------

    def request_stop(self, *, immediate: bool = False) -> None:
        """Ask for the end, as SIGTERM does; from any thread."""
        self._inbox.put(Note("stop", "", 0, immediate))

    def run(self) -> Ended:
        """Start everything, and stay until it has ended. Nothing of it lives when this returns or raises.

        Raises AlreadyRunning when another supervisor has the stack, PreflightError when its directory is not safe.
        """
        files.private_dir(self._paths.root)
        files.private_dir(self._paths.logs)
        self._store.take()
        lastfailure.forget(self._paths)
        try:
            with self._inbox.opened():  # before anything is written: who is told to end from now on ends in order
                left = [
                    each for each in runstate.reconcile_locked(self._paths, self._store.lock) if "left alone" in each
                ]
                if left:
                    raise StackError(left[0], remedy="stop it there, or give this one another name: --name NAME")
                try:
                    self._set_up()
                    return self._loop()
                finally:
                    self._leave_nothing()
        finally:
            self._store.lock.release()

    def _set_up(self) -> None:
        """Write what others look for, the state last: who sees it finds the ports, the files and the socket as well."""
        self._store.lock.sign(self._state.supervisor)
        self._state.tmp = runstate.make_tmp(self._paths)
        self._prepare()
        self._control = control.listen(self._paths)
        self._save(must=True)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _loop(self) -> Ended:
        self._clocks = clocks.read()
        while True:
            for signum in self._inbox.signals():
                self._begin_stop(signum, immediate=self._ending.begun or signum == signal.SIGQUIT)
            self._executor.trees.hear()  # before probing: who is dead is not asked
            self._hear_threads()
            if self._control is not None:
                control.serve(self._control, self._asked_for)
            self._notice_sleep()
            now = time.monotonic()
            for run in self._runs:
                self._executor.trees.sample(run, now)
                if not self._ending.begun and not self._waits(run):
                    self._executor.feed(run, transitions.Tick())
            self._caps.trim(self._runs, now)
            self._watch_stack(now)
            if self._ended is not None and not any(run.service.alive for run in self._runs):
                return self._ended
            if self._ending.given_up(now) and self._ended is not None:
                return self._given_up(self._ended)
            self._beat(now)
            self._save()
            self._wait()

    def _waits(self, run: Run) -> bool:
        """Say whether a service that is to start must let another one start first."""
        first = (each.service.state for each in self._runs if each.spec.name in run.spec.after)
        return run.service.state in {State.PENDING, State.RESTARTING} and any(
            state in {State.PENDING, State.STARTING} for state in first
        )

    def _wait(self) -> None:
        calm = self._state.state in {State.READY, State.FAILED} and not self._ending.begun
        poll = select.poll()
        poll.register(self._inbox.handle, select.POLLIN)
        if self._control is not None:
            poll.register(self._control, select.POLLIN)
        for run in self._runs:
            if run.child is not None and run.child.status >= 0:
                poll.register(run.child.status, select.POLLIN)
        tick = _TICK_READY if calm else _TICK_START
        poll.poll((logcaps.TICK if self._caps.flooded(time.monotonic()) else tick) * 1000)

    def _asked_for(self, question: dict[str, Any]) -> None:
        """Carry out what came over the control socket. Raises StackError with the reason why not."""
        run = next((each for each in self._runs if each.spec.name == question.get("service")), None)
        if question.get("do") != "restart" or run is None:
            services = ", ".join(each.spec.name for each in self._runs)
            raise StackError(f"the stack `{self._paths.name}` can restart {services}, and nothing else of it")
        if self._ending.begun or self._state.verified_at is None:
            raise StackError(f"the stack `{self._paths.name}` is still {self._state.state}")
        if run.service.state not in {State.READY, State.UNREADY, State.FAILED}:
            raise StackError(f"{run.spec.name} is {run.service.state} already")
        self._state.failure = None
        self._executor.feed(run, transitions.Restart())
        self._save()

    def _watch_stack(self, now: float) -> None:
        """See to what concerns all services together."""
        if self._ending.begun:
            self._go_on_stopping(now)
            return
        self._executor.look_around(now)
        failed = next((run for run in self._runs if run.service.state is State.FAILED), None)
        if self._state.verified_at is None:
            self._prove(now, failed)
            return
        if failed is not None and self._state.failure is None:
            autopsy = self._executor.autopsy(failed)
            self._state.failure = {"service": autopsy.service, "reason": autopsy.reason, "log": autopsy.log}
            self._store.dirty = True
        worst = max((run.service.state for run in self._runs), key=_BADNESS.index, default=State.READY)
        if worst is not self._state.state:
            self._state.state = worst
            self._store.dirty = True

    def _prove(self, now: float, failed: Run | None) -> None:
        """See to the proof of a start: it begins when all services are ready, and fails with the first that does."""
        if failed is not None:
            self._fail(self._executor.autopsy(failed))
        elif self._verifying_since is None and all(run.service.state is State.READY for run in self._runs):
            self._verifying_since = now
            self._inbox.call("verified", "", 0, self._verify)
        elif self._verifying_since is not None and now - self._verifying_since > _VERIFY:
            self._fail(Ended(State.FAILED, reason=f"no token came through the stack within {_VERIFY:g} s"))

    # --- threads ----------------------------------------------------------------------------------------------------

    def _hear_threads(self) -> None:
        for note in self._inbox.notes():
            if note.what == "stop":
                self._begin_stop(None, immediate=bool(note.value))
            elif note.what == "verified":
                self._verified(note.value)
            else:
                run = next(each for each in self._runs if each.spec.name == note.name)
                self._executor.hear(run, note, ending=self._ending.begun)

    def _verified(self, value: object) -> None:
        if self._ending.begun:
            return
        if isinstance(value, ClientFacts):
            self._state.client = value
            self._state.verified_at = time.time()
            self._state.state = State.READY
            for run in self._runs:
                self._executor.feed(run, transitions.Settled())
            self._store.dirty = True
            self._save()
            self._tell(Ready(value))
        elif isinstance(value, StackError):
            self._fail(Ended(State.FAILED, reason=value.message, error=value))
        else:
            self._fail(Ended(State.FAILED, reason=f"the proof of readiness broke: {value!r}"))

    # --- ending -----------------------------------------------------------------------------------------------------

    def _fail(self, ended: Ended) -> None:
        """A start is all or nothing: take everything down, then end with this."""
        self._ended = ended
        if ended.service:
            reason = "the machine, or its container, ran out of memory" if ended.oom else ended.reason
            lastfailure.note(self._paths, runstate.Failed(ended.service, reason))
        self._begin_stop(None, immediate=False)

    def _begin_stop(self, signum: int | None, *, immediate: bool) -> None:
        now, first = time.monotonic(), not self._ending.begun
        grace = max((run.spec.grace for run in self._runs), default=0.0)
        if not self._ending.begin(now, grace, signum, immediate=immediate):
            return
        if self._ended is None:
            self._ended = Ended(State.STOPPED, signum=self._ending.signum)
        self._state.state = State.STOPPING
        self._store.dirty = True
        if first or immediate:
            self._tell(Stopping(signum, immediate))
        for run in self._runs:
            if immediate or run.spec.kind is ServiceKind.GATEWAY or run.service.state is State.FAILED:
                self._executor.feed(run, transitions.Stop(immediate=immediate))
        self._go_on_stopping(now)

    def _go_on_stopping(self, now: float) -> None:
        gateways = any(run.service.alive for run in self._runs if run.spec.kind is ServiceKind.GATEWAY)
        if self._ending.engines_due(now) or not gateways:
            for run in self._runs:
                if run.service.state not in {State.STOPPING, State.STOPPED, State.FAILED}:
                    self._executor.feed(run, transitions.Stop())
        if self._ending.kill_due(now):
            for run in self._runs:
                if run.service.alive:
                    self._executor.kill(run)

    def _given_up(self, ended: Ended) -> Ended:
        stuck = tuple(each.pid for run in self._runs for each in run.members[1:] if identity.alive(each))
        return replace(ended, stuck=stuck)

    def _leave_nothing(self) -> None:
        """Whatever happened: no process, no temporary file, no state. Guards kill when their lifeline closes."""
        for run in self._runs:
            if run.child is not None:
                run.child.close()
                run.child = None
        if self._control is not None:
            self._control.close()
            self._control = None
        log = os.path.realpath(self._paths.logs) + os.sep
        _, stuck = survivors.kill(mark=runstate.mark_of(self._paths), log=log)
        if not stuck:
            runstate.remove_tmp(self._paths)
            runstate.clear(self._paths)
            self._store.lock.sign(None)

    # --- the rest ---------------------------------------------------------------------------------------------------

    def _notice_sleep(self) -> None:
        """A suspended laptop, or a stopped supervisor, is no failure: what was measured across the gap is void."""
        before, self._clocks = self._clocks, clocks.read()
        if clocks.gap(before, self._clocks):
            for run in self._runs:
                run.generation += 1
                run.before = None
                self._executor.feed(run, transitions.Resumed())

    def _tell(self, event: Event) -> None:
        """Tell the caller. A terminal that is gone must not take the stack down by itself."""
        with contextlib.suppress(OSError):
            self._on_event(event)

    def _beat(self, now: float) -> None:
        if self._state.verified_at is None and not self._ending.begun and now - self._ticked_at >= _TICK_START:
            self._ticked_at = now
            self._tell(Tick(tuple(run.record for run in self._runs)))

    def _save(self, *, must: bool = False) -> None:
        self._store.save(must=must, watch=not self._ending.begun)

    def _lost(self, why: str) -> None:
        self._fail(Ended(State.FAILED, reason=why))


_BADNESS = [
    State.READY, State.PENDING, State.STARTING, State.RESTARTING, State.UNREADY, State.STOPPING, State.STOPPED, State.FAILED,
]  # fmt: skip
