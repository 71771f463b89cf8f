"""One loop that starts services, proves them ready, heals them and takes them down.

It knows nothing of language models. What a service's state becomes is decided by the pure table in
`transitions.py`; here is what touches the world: guards, probes in threads, signals, clocks and the state file.
Imports are kept light: this is what lives on, for weeks, beside the model.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import select
import signal
import socket
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stackctl import (
    control,
    files,
    identity,
    logfile,
    process,
    runstate,
    survivors,
    transitions,
    vitals,
)
from stackctl.errors import StackError
from stackctl.model import ClientFacts, ServiceKind, State
from stackctl.runstate import ServiceRecord, StackState
from stackctl.supervisor.events import Ended, Event, Ready, ServiceChanged, Stopping, Tick
from stackctl.supervisor.inbox import Inbox, Note
from stackctl.supervisor.looks import Run, ask, clocks, gap, how_it_ended, look_at, reap_orphans
from stackctl.supervisor.store import Store
from stackctl.transitions import Answer, Do, RestartPolicy, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackctl.model import ProcessSpec
    from stackctl.paths import StackPaths


_TICK_START = 0.2  # seconds between looks while something starts or stops
_TICK_READY = 1.0
_SAMPLE_START = 1.0
_SAMPLE_READY = 10.0
_HEAD_START = 2.0  # seconds that gateways get to end before engines are told: requests then end at the front door
_STUCK = 15.0  # seconds after which a tree that will not die is given up: its guard goes on trying
_VERIFY = 330.0  # seconds; the request inside has its own, shorter deadline
_TAIL = 20
_TICK_FLOOD = 0.05  # seconds between looks while, and some time after, a log grew by a sixteenth of its cap between two
_FLOOD_ENDS = 5.0


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
        self._notice = notice  # what changed under the whole stack since its start, in words
        self._noticed_at = float("-inf")
        policy = restart or RestartPolicy()
        now = time.time()
        self._runs = [
            Run(
                spec,
                Service(policy, spec.start_timeout, spec.start_cap, deep=spec.work is not None),
                ServiceRecord(
                    spec.name, spec.kind, State.PENDING, spec.port, spec.log, spec.model, spec.window, since=now
                ),
            )
            for spec in specs
        ]
        self._policy = policy
        self._log_cap = log_cap  # bytes on disk that the log of one service may take
        self._flooded_until = float("-inf")
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
        self._control: socket.socket | None = None
        self._run_id = secrets.token_hex(8)
        self._starts = 0
        self._inbox = Inbox()
        self._verifying_since: float | None = None
        self._stopping = False
        self._immediate = False
        self._signum: int | None = None
        self._engines_at = self._kill_at = self._give_up_at = float("inf")
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
        try:
            left = [each for each in runstate.reconcile_locked(self._paths, self._store.lock) if "left alone" in each]
            if left:
                raise StackError(left[0], remedy="stop it there, or give this one another name: --name NAME")
            self._store.lock.sign(self._state.supervisor)
            self._state.tmp = runstate.make_tmp(self._paths)
            self._save(must=True)
            self._control = control.listen(self._paths)
            with self._inbox.opened():
                try:
                    self._prepare()
                    return self._loop()
                finally:
                    self._leave_nothing()
        finally:
            self._store.lock.release()

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _loop(self) -> Ended:
        self._clocks = clocks()
        while True:
            self._hear_guards()  # before probing: who is dead is not asked
            self._hear_threads()
            if self._control is not None:
                control.serve(self._control, self._asked_for)
            self._notice_sleep()
            now = time.monotonic()
            for run in self._runs:
                self._sample(run, now)
                if not self._stopping and not self._waits(run):
                    self._feed(run, transitions.Tick())
            self._trim_logs(now)
            self._watch_stack(now)
            if self._ended is not None and not any(run.service.alive for run in self._runs):
                return self._ended
            if now >= self._give_up_at and self._ended is not None:
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
        calm = self._state.state in {State.READY, State.FAILED} and not self._stopping
        poll = select.poll()
        poll.register(self._inbox.handle, select.POLLIN)
        if self._control is not None:
            poll.register(self._control, select.POLLIN)
        for run in self._runs:
            if run.child is not None and run.child.status >= 0:
                poll.register(run.child.status, select.POLLIN)
        tick = _TICK_READY if calm else _TICK_START
        poll.poll((_TICK_FLOOD if time.monotonic() < self._flooded_until else tick) * 1000)
        for signum in self._inbox.signals():
            self._begin_stop(signum, immediate=self._stopping or signum == signal.SIGQUIT)

    def _asked_for(self, question: dict[str, Any]) -> None:
        """Carry out what came over the control socket. Raises StackError with the reason why not."""
        run = next((each for each in self._runs if each.spec.name == question.get("service")), None)
        if question.get("do") != "restart" or run is None:
            services = ", ".join(each.spec.name for each in self._runs)
            raise StackError(f"the stack `{self._paths.name}` can restart {services}, and nothing else of it")
        if self._stopping or self._state.verified_at is None:
            raise StackError(f"the stack `{self._paths.name}` is still {self._state.state}")
        if run.service.state not in {State.READY, State.UNREADY, State.FAILED}:
            raise StackError(f"{run.spec.name} is {run.service.state} already")
        self._state.failure = None
        self._feed(run, transitions.Restart())
        self._save()

    def _trim_logs(self, now: float) -> None:
        """Keep each log below its cap; look again soon while one is being flooded."""
        for run in self._runs:
            try:
                size = os.lstat(run.spec.log).st_size
            except OSError:
                continue
            grown, run.logged = size - run.logged, size
            if grown > 0 and run.child is not None:
                cap = logfile.cap_of(run.spec.log, self._log_cap)
                if grown * 16 > cap:
                    self._flooded_until = now + _FLOOD_ENDS
                logfile.trim(run.spec.log, cap)

    def _watch_stack(self, now: float) -> None:
        """See to what concerns all services together."""
        if self._stopping:
            self._go_on_stopping(now)
            return
        if now - self._noticed_at >= _SAMPLE_READY:
            self._look_around(now)
        verified = self._state.verified_at is not None
        failed = next((run for run in self._runs if run.service.state is State.FAILED), None)
        if not verified:
            if failed is not None:
                self._fail(self._autopsy(failed))
            elif self._verifying_since is None and all(run.service.state is State.READY for run in self._runs):
                self._verifying_since = now
                self._inbox.call("verified", "", 0, self._verify)
            elif self._verifying_since is not None and now - self._verifying_since > _VERIFY:
                self._fail(Ended(State.FAILED, reason=f"no token came through the stack within {_VERIFY:g} s"))
            return
        if failed is not None and self._state.failure is None:
            autopsy = self._autopsy(failed)
            self._state.failure = {"service": autopsy.service, "reason": autopsy.reason, "log": autopsy.log}
            self._store.dirty = True
        worst = max((run.service.state for run in self._runs), key=_BADNESS.index, default=State.READY)
        if worst is not self._state.state:
            self._state.state = worst
            self._store.dirty = True

    def _feed(self, run: Run, event: transitions.Event) -> None:
        """Hand an event to the table, and do what it says."""
        before = run.service
        run.service, todo = transitions.step(before, event, time.monotonic(), random.random())
        if run.service.state is not before.state or run.service.restarts != before.restarts:
            run.record.state = run.service.state
            if run.service.state in {State.RESTARTING, State.FAILED}:
                self._look_around(time.monotonic())
            run.record.detail = self._why(run)
            run.record.since = time.time()
            run.record.restarts = run.service.restarts
            run.record.requested = run.service.requested
            self._store.dirty = True
            self._tell(ServiceChanged(run.spec.name, run.service.state, run.record.detail))
        for each in todo:
            self._do(run, each)

    def _look_around(self, now: float) -> None:
        """See what has changed under the whole stack, for `status` and for the cause of a failure."""
        self._noticed_at = now
        notice = self._notice()
        if notice != self._state.notice:
            self._state.notice = notice
            self._store.dirty = True

    def _why(self, run: Run) -> str:
        """Why a service is as it is; what changed under it belongs to the cause of an end."""
        notice = self._state.notice if run.service.state in {State.RESTARTING, State.FAILED} else ""
        return "; ".join(filter(None, (run.service.why, notice)))

    def _do(self, run: Run, what: Do) -> None:
        if what is Do.START:
            self._start(run)
        elif what is Do.PROBE:
            run.generation += 1
            timeout = run.spec.ready.timeout
            starting = run.service.state is State.STARTING
            asked = replace(run.spec.ready, timeout=timeout if starting else min(timeout, self._policy.probe_timeout))
            guard = run.child.guard.pid if run.child is not None else 0
            self._inbox.call("answer", run.spec.name, run.generation, lambda: ask(run.spec, asked, guard, starting))
        elif what is Do.WORK and run.spec.work is not None:
            work, policy = run.spec.work, self._policy
            self._inbox.call("worked", run.spec.name, run.start, lambda: look_at(run, work, policy))
        elif run.child is not None:
            if what is Do.KILL:
                run.killed_by_us = True
                run.child.kill()
            else:
                run.child.terminate()

    # --- services ---------------------------------------------------------------------------------------------------

    def _start(self, run: Run) -> None:
        self._starts += 1
        run.mark = f"{self._run_id}-{self._starts}{runstate.mark_of(self._paths)}"
        run.members, run.before, run.sampled_at = [], None, float("-inf")
        run.start, run.counters = self._starts, None
        run.exit_code = run.signal = None
        run.oom = run.empty = run.killed_by_us = False
        run.generation += 1
        logfile.compact(run.spec.log, logfile.cap_of(run.spec.log, self._log_cap))
        try:
            run.child = child = process.spawn(run.spec, run_id=run.mark)
        except StackError as error:
            run.child = None
            # A guard that was killed before its first word may have started the service already.
            survivors.kill(mark=run.mark, log=os.path.realpath(run.spec.log))
            self._feed(run, transitions.SpawnFailed(error.message))
            return
        record = run.record
        record.leader, record.guard = child.leader, child.guard
        record.pgid, record.sid, record.log_from = child.pgid, child.sid, child.log_from
        run.members = [child.guard, child.leader]
        run.ooms = deque([(time.monotonic(), vitals.oom_kills(child.leader.pid))])
        with contextlib.suppress(OSError):  # the state file has it too, and is tried again
            runstate.write_record(self._paths, record)
        self._store.dirty = True
        self._save()

    def _hear_guards(self) -> None:
        for run in self._runs:
            if run.child is None:
                continue
            for said in run.child.messages():
                if said["event"] == "exited":
                    run.exit_code, run.signal = said["code"], said["signal"]
                    run.oom = self._was_out_of_memory(run)
                    self._feed(run, transitions.Ended(how_it_ended(run)))
                elif said["event"] == "empty":
                    run.empty = True
                elif said["event"] == "lost":
                    self._bury(run, run.child)

    def _bury(self, run: Run, child: process.Child) -> None:
        """The guard is gone; when it did not say that the tree is empty, what is left is ours to kill."""
        run.child = None
        child.close()
        if not run.empty:
            log = os.path.realpath(run.spec.log)
            survivors.kill(mark=run.mark, log=log, trusted=[*run.members, child.leader, child.guard])
        self._feed(run, transitions.Gone())
        self._store.dirty = True

    def _was_out_of_memory(self, run: Run) -> bool:
        if run.killed_by_us or not run.ooms or (run.exit_code == 0):
            return False
        return vitals.oom_kills(os.getpid()) > run.ooms[0][1]

    def _sample(self, run: Run, now: float) -> None:
        """Look at the tree: who belongs to it, and whether it works."""
        if run.child is None:
            return
        calm = run.service.state is State.READY and run.service.failures + run.service.work_failures == 0
        if now - run.sampled_at < (_SAMPLE_READY if calm else _SAMPLE_START):
            return
        run.sampled_at = now
        rows = identity.table()
        tree = identity.descendants(run.child.guard.pid, rows)
        boot = self._state.boot_id
        run.members = [run.child.guard, *(identity.Identity(each.pid, each.start_ticks, boot) for each in tree)]
        seen = vitals.take(tree, run.spec.log, now)
        before, run.before = run.before, seen
        run.ooms.append((now, vitals.oom_kills(os.getpid())))
        while len(run.ooms) > 1 and run.ooms[1][0] < now - 30:
            run.ooms.popleft()
        if before is not None:
            self._feed(run, transitions.Sampled(seen.grew_since(before), seen.busy_since(before), seen.stopped))
        if os.getpid() == 1:
            reap_orphans(rows, {each.child.guard.pid for each in self._runs if each.child is not None})

    # --- threads ----------------------------------------------------------------------------------------------------

    def _hear_threads(self) -> None:
        for note in self._inbox.notes():
            if note.what == "stop":
                self._begin_stop(None, immediate=bool(note.value))
            elif note.what == "verified":
                self._verified(note.value)
            else:
                self._heard(next(each for each in self._runs if each.spec.name == note.name), note)

    def _heard(self, run: Run, note: Note) -> None:
        """What a thread found out of a service, if it is still asked."""
        value = note.value
        if note.what == "worked":
            if note.generation == run.start and not self._stopping and run.service.working:
                self._feed(run, value if isinstance(value, transitions.Worked) else transitions.Worked(hung=False))
        elif note.generation == -1:  # nobody could be sent to ask
            self._feed(run, transitions.Resumed())
        elif note.generation == run.generation and not self._stopping:
            broke = transitions.Answered(Answer.SILENT, str(value))
            self._feed(run, value if isinstance(value, transitions.Answered) else broke)

    def _verified(self, value: object) -> None:
        if self._stopping:
            return
        if isinstance(value, ClientFacts):
            self._state.client = value
            self._state.verified_at = time.time()
            self._state.state = State.READY
            for run in self._runs:
                self._feed(run, transitions.Settled())
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
        self._begin_stop(None, immediate=False)

    def _begin_stop(self, signum: int | None, *, immediate: bool) -> None:
        now = time.monotonic()
        first = not self._stopping
        if not first and (self._immediate or not immediate):
            return
        self._stopping = True
        self._immediate = immediate
        self._signum = self._signum or signum
        if self._ended is None:
            self._ended = Ended(State.STOPPED, signum=self._signum)
        self._state.state = State.STOPPING
        self._store.dirty = True
        if first or immediate:
            self._tell(Stopping(signum, immediate))
        grace = max((run.spec.grace for run in self._runs), default=0.0)
        self._engines_at = now + min(_HEAD_START, 0.2 * grace)
        self._kill_at = now if immediate else now + _HEAD_START + grace + 3.0
        self._give_up_at = self._kill_at + _STUCK
        for run in self._runs:
            if immediate or run.spec.kind is ServiceKind.GATEWAY or run.service.state is State.FAILED:
                self._feed(run, transitions.Stop(immediate=immediate))
        self._go_on_stopping(now)

    def _go_on_stopping(self, now: float) -> None:
        gateways = any(run.service.alive for run in self._runs if run.spec.kind is ServiceKind.GATEWAY)
        if now >= self._engines_at or not gateways:
            for run in self._runs:
                if run.service.state not in {State.STOPPING, State.STOPPED, State.FAILED}:
                    self._feed(run, transitions.Stop())
        if now >= self._kill_at:
            self._kill_at = float("inf")
            for run in self._runs:
                if run.service.alive:
                    self._do(run, Do.KILL)

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

    def _autopsy(self, run: Run) -> Ended:
        return Ended(
            State.FAILED,
            reason=self._why(run),
            service=run.spec.name,
            exit_code=run.exit_code,
            signal=run.signal,
            log=run.spec.log,
            tail=process.tail(run.spec.log, lines=_TAIL, since=run.record.log_from),
            oom=run.oom,
        )

    # --- the rest ---------------------------------------------------------------------------------------------------

    def _notice_sleep(self) -> None:
        """A suspended laptop, or a stopped supervisor, is no failure: what was measured across the gap is void."""
        before, self._clocks = self._clocks, clocks()
        if gap(before, self._clocks):
            for run in self._runs:
                run.generation += 1
                run.before = None
                self._feed(run, transitions.Resumed())

    def _tell(self, event: Event) -> None:
        """Tell the caller. A terminal that is gone must not take the stack down by itself."""
        with contextlib.suppress(OSError):
            self._on_event(event)

    def _beat(self, now: float) -> None:
        if self._state.verified_at is None and not self._stopping and now - self._ticked_at >= _TICK_START:
            self._ticked_at = now
            self._tell(Tick(tuple(run.record for run in self._runs)))

    def _save(self, *, must: bool = False) -> None:
        self._store.save(must=must, watch=not self._stopping)

    def _lost(self, why: str) -> None:
        self._fail(Ended(State.FAILED, reason=why))


_BADNESS = [
    State.READY,
    State.PENDING,
    State.STARTING,
    State.RESTARTING,
    State.UNREADY,
    State.STOPPING,
    State.STOPPED,
    State.FAILED,
]
