"""The process trees of a stack's services: started under guards, listened to, looked at, and buried when they ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING

from stackctl import identity, process, runstate, survivors, transitions, vitals
from stackctl.errors import StackError
from stackctl.model import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from stackctl.paths import StackPaths
    from stackctl.supervisor.logcaps import LogCaps
    from stackctl.supervisor.run import Run
    from stackctl.supervisor.store import Store

_SAMPLE_START = 1.0  # seconds between looks at a tree
_SAMPLE_READY = 10.0


class Trees:
    """What happens to a tree is handed on by `feed`; what is to happen to it is said by the caller."""

    def __init__(
        self,
        paths: StackPaths,
        runs: Sequence[Run],
        boot_id: str,
        store: Store,
        caps: LogCaps,
        *,
        feed: Callable[[Run, transitions.Event], None],
    ) -> None:
        self._paths = paths
        self._runs = runs
        self._store = store
        self._caps = caps
        self._feed = feed
        self._boot_id = boot_id
        self._run_id = secrets.token_hex(8)
        self._starts = 0

    def start(self, run: Run) -> None:
        """Start a service under a guard of its own, and write down who they are."""
        self._starts += 1
        run.mark = f"{self._run_id}-{self._starts}{runstate.mark_of(self._paths)}"
        run.members, run.before, run.sampled_at = [], None, float("-inf")
        run.start, run.counters = self._starts, None
        run.exit_code = run.signal = None
        run.oom = run.empty = run.killed_by_us = False
        run.generation += 1
        self._caps.begin(run)
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

    def hear(self) -> None:
        """Take what the guards said: that a service ended, that its tree is empty, or that the guard itself is gone."""
        for run in self._runs:
            if run.child is None:
                continue
            for said in run.child.messages():
                if said["event"] == "exited":
                    run.exit_code, run.signal = said["code"], said["signal"]
                    run.oom = self._was_out_of_memory(run)
                    self._feed(run, transitions.Ended(run.how_it_ended()))
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

    def sample(self, run: Run, now: float) -> None:
        """Look at the tree: who belongs to it, and whether it works."""
        if run.child is None:
            return
        calm = run.service.state is State.READY and run.service.failures + run.service.work_failures == 0
        if now - run.sampled_at < (_SAMPLE_READY if calm else _SAMPLE_START):
            return
        run.sampled_at = now
        rows = identity.table()
        tree = identity.descendants(run.child.guard.pid, rows)
        members = (identity.Identity(each.pid, each.start_ticks, self._boot_id) for each in tree)
        run.members = [run.child.guard, *members]
        seen = vitals.take(tree, run.spec.log, now)
        before, run.before = run.before, seen
        run.ooms.append((now, vitals.oom_kills(os.getpid())))
        while len(run.ooms) > 1 and run.ooms[1][0] < now - 30:
            run.ooms.popleft()
        if before is not None:
            self._feed(run, transitions.Sampled(seen.grew_since(before), seen.busy_since(before), seen.stopped))
        if os.getpid() == 1:
            _reap_orphans(rows, {each.child.guard.pid for each in self._runs if each.child is not None})


def _reap_orphans(rows: Mapping[int, identity.ProcessRow], guards: Collection[int]) -> None:
    """Collect processes that ended and were handed to us: a container's first process is given every orphan.

    `rows` are all processes of the machine by pid; `guards` are children whose end is asked for elsewhere.
    """
    for each in rows.values():
        if each.ended and each.parent == 1 and each.pid not in guards:
            with contextlib.suppress(OSError):
                os.waitpid(each.pid, os.WNOHANG)
