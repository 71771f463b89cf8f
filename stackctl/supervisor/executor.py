"""What happens to a service goes to the pure table of `transitions`; what the table says is carried out here."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from stackctl import process, transitions
from stackctl.model import State
from stackctl.supervisor.events import Ended, Event, ServiceChanged
from stackctl.supervisor.looks import ask, look_at
from stackctl.supervisor.trees import Trees
from stackctl.transitions import Answer, Do

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackctl.paths import StackPaths
    from stackctl.runstate import StackState
    from stackctl.supervisor.inbox import Inbox, Note
    from stackctl.supervisor.logcaps import LogCaps
    from stackctl.supervisor.run import Run
    from stackctl.supervisor.store import Store
    from stackctl.transitions import RestartPolicy

_NOTICE = 10.0  # seconds between looks at what changed under the whole stack
_TAIL = 20  # lines of a log


class Executor:
    """Feeds the services of one stack to the table, and does with their `trees` what it answers.

    `notice` says in words what changed under the whole stack since its start; `tell` is given each change of state.
    """

    def __init__(
        self,
        paths: StackPaths,
        runs: Sequence[Run],
        policy: RestartPolicy,
        state: StackState,
        store: Store,
        caps: LogCaps,
        inbox: Inbox,
        *,
        notice: Callable[[], str],
        tell: Callable[[Event], None],
    ) -> None:
        self.trees = Trees(paths, runs, state.boot_id, store, caps, feed=self.feed)
        self._policy = policy
        self._state = state
        self._store = store
        self._inbox = inbox
        self._notice = notice
        self._noticed_at = float("-inf")
        self._tell = tell

    def feed(self, run: Run, event: transitions.Event) -> None:
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

    def hear(self, run: Run, note: Note, *, ending: bool) -> None:
        """What a thread found out of a service, if it is still asked; while the stack is `ending` it is not."""
        value = note.value
        if note.what == "worked":
            if note.generation == run.start and not ending and run.service.working:
                self.feed(run, value if isinstance(value, transitions.Worked) else transitions.Worked(hung=False))
        elif note.generation == -1:  # nobody could be sent to ask
            self.feed(run, transitions.Resumed())
        elif note.generation == run.generation and not ending:
            broke = transitions.Answered(Answer.SILENT, str(value))
            self.feed(run, value if isinstance(value, transitions.Answered) else broke)

    def kill(self, run: Run) -> None:
        """Kill a service at once; its guard takes the whole tree."""
        if run.child is not None:
            run.killed_by_us = True
            run.child.kill()

    def look_around(self, now: float) -> None:
        """See now and then what has changed under the whole stack, for `status` and for the cause of a failure."""
        if now - self._noticed_at >= _NOTICE:
            self._look_around(now)

    def autopsy(self, run: Run) -> Ended:
        """How a service that has failed ended, with the last lines of its log."""
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

    def _look_around(self, now: float) -> None:
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
            self.trees.start(run)
            self._store.save()
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
        elif what is Do.KILL:
            self.kill(run)
        elif run.child is not None:
            run.child.terminate()
