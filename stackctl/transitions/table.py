"""The table itself: what an event makes of a service in each state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from stackctl.model import State
from stackctl.transitions.events import (
    Answer,
    Answered,
    Do,
    Ended,
    Event,
    Gone,
    Restart,
    Resumed,
    Sampled,
    Settled,
    SpawnFailed,
    Stop,
    Tick,
    Worked,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.transitions.service import Service


REQUESTED = "somebody asked for it"  # why a service restarts that did not die
Outcome: TypeAlias = "tuple[Service, tuple[Do, ...]]"


def step(service: Service, event: Event, now: float, chance: float = 0.5) -> Outcome:
    """Return the service after `event` and what to do; an event without a row changes nothing.

    `chance` in [0, 1) spreads restarts, so that two stacks do not hammer one disk in step.
    """
    handler = TABLE.get((service.state, type(event))) or ALWAYS.get(type(event))
    return (service, ()) if handler is None else handler(service, event, now, chance)


def _start(service: Service, now: float) -> Outcome:
    began = replace(
        service,
        state=State.STARTING,
        why="",
        starts=(*service.starts, now),
        attempts=service.attempts + 1,
        began_at=now,
        progress_at=now,
        ok_at=now,
        busy_at=float("-inf"),
        stopped_at=None,
        stranger_at=None,
        failures=0,
        probing=False,
        probe_at=now,
        alive=True,
    )
    return began, (Do.START,)


def _pending_tick(service: Service, _event: Event, now: float, _chance: float) -> Outcome:
    return _start(service, now)


def _down(service: Service, why: str, now: float, chance: float, *do: Do) -> Outcome:
    """Leave a live state for a reason: restart when the stack has been ready, else the start has failed."""
    if not service.settled:
        return replace(service, state=State.FAILED, why=why), do
    policy = service.policy
    recent = [each for each in service.starts if now - each < policy.window and each >= service.forgiven_at]
    if max(len(recent), service.attempts) >= policy.max_starts:
        tried = f"given up after {policy.max_starts} starts: {why}"
        return replace(service, state=State.FAILED, why=tried), do
    delay = min(policy.backoff * 2 ** max(0, len(recent) - 1), policy.backoff_max)
    delay *= 1 + policy.jitter * (2 * chance - 1)
    return replace(service, state=State.RESTARTING, why=why, retry_at=now + delay), do


def _spawn_failed(service: Service, event: Event, now: float, chance: float) -> Outcome:
    assert isinstance(event, SpawnFailed)  # noqa: S101 - the table says so
    return _down(replace(service, alive=False), event.why, now, chance)


def _ended(service: Service, event: Event, now: float, chance: float) -> Outcome:
    assert isinstance(event, Ended)  # noqa: S101
    return _down(service, event.why, now, chance)


def _gone(service: Service, _event: Event, now: float, chance: float) -> Outcome:
    """The tree is empty without a word of its leader's end: the guard was killed."""
    return _down(replace(service, alive=False), "its guard was killed", now, chance)


def _empty(service: Service, _event: Event, _now: float, _chance: float) -> Outcome:
    return replace(service, alive=False), ()


def _starting_tick(service: Service, _event: Event, now: float, chance: float) -> Outcome:
    quiet = now - service.progress_at
    if quiet > service.start_timeout:
        why = f"no progress for {service.start_timeout:g} s: nothing in its log, no CPU time, nothing read"
        return _down(service, why, now, chance, Do.KILL)
    if now - service.began_at > service.start_cap:
        why = f"not ready after {service.start_cap:g} s, though it goes on"
        return _down(service, why, now, chance, Do.KILL)
    return _probe_when_due(service, now)


def _probe_when_due(service: Service, now: float) -> Outcome:
    if service.probing or now < service.probe_at:
        return service, ()
    return replace(service, probing=True), (Do.PROBE,)


def _starting_answered(service: Service, event: Event, now: float, chance: float) -> Outcome:
    assert isinstance(event, Answered)  # noqa: S101
    policy = service.policy
    service = replace(service, probing=False, probe_at=now + policy.probe_start)
    if event.answer is Answer.OK:
        service = replace(service, working=False, work_failures=0, worked_at=now, work_at=now + policy.work_every)
        return _ready(service, now), ()
    if event.answer is not Answer.STRANGER:
        return replace(service, stranger_at=None), ()
    since = now if service.stranger_at is None else service.stranger_at
    if now - since >= policy.stranger_after:
        return _down(service, event.why, now, chance, Do.KILL)
    return replace(service, stranger_at=since), ()


def _ready(service: Service, now: float) -> Service:
    return replace(
        service,
        state=State.READY,
        why="",
        attempts=0,
        ok_at=now,
        failures=0,
        last=Answer.OK,
        probe_at=now + service.policy.probe_ready,
    )


def _watched_answered(service: Service, event: Event, now: float, _chance: float) -> Outcome:
    """An answer while ready or unready."""
    assert isinstance(event, Answered)  # noqa: S101
    service = replace(service, probing=False)
    if event.answer is Answer.OK:
        return _ready(service, now), ()
    policy = service.policy
    service = replace(
        service, failures=service.failures + 1, last=event.answer, probe_at=now + min(1.0, policy.probe_ready)
    )
    if service.failures < policy.unready_after:
        return service, ()
    return replace(service, state=State.UNREADY, why=event.why), ()  # whether it hangs is asked once it was looked at


def _watched_tick(service: Service, _event: Event, now: float, chance: float) -> Outcome:
    if service.stopped_at is not None and now - service.stopped_at >= service.policy.hang_after:
        return _down(service, "one of its processes was stopped (SIGSTOP)", now, chance, Do.KILL)
    service, do = _hung(service, now, chance) if service.state is State.UNREADY else (service, ())
    if do:
        return service, do
    service, do = _probe_when_due(service, now)
    if service.deep and service.state is State.READY and not service.working and now >= service.work_at:
        return replace(service, working=True), (*do, Do.WORK)
    return service, do


def _worked(service: Service, event: Event, now: float, chance: float) -> Outcome:
    """A look at the work. Progress is forgiven everything; CPU time (a long prompt, perhaps) much of it."""
    assert isinstance(event, Worked)  # noqa: S101
    policy = service.policy
    service = replace(service, working=False)
    if not event.hung:
        return replace(service, work_failures=0, worked_at=now, work_at=now + policy.work_every), ()
    service = replace(service, work_failures=service.work_failures + 1, work_at=now)
    if service.work_failures < policy.work_after:
        return service, ()
    stuck = now - service.worked_at
    if now - service.busy_at < policy.hang_after and stuck < policy.busy_after:
        return service, ()
    return _down(service, f"{event.why}, for {stuck:.0f} s", now, chance, Do.KILL)


def _hung(service: Service, now: float, chance: float) -> Outcome:
    """Decide whether an unready service is beyond waiting."""
    policy = service.policy
    unwell = now - service.ok_at
    if service.last in {Answer.BROKEN, Answer.REFUSED}:
        limit = policy.broken_after
    elif now - service.busy_at < policy.hang_after:
        limit = policy.busy_after
    else:
        limit = policy.hang_after
    if unwell < limit:
        return service, ()
    why = service.why or "it does not answer"
    return _down(service, f"{why}, for {unwell:.0f} s", now, chance, Do.KILL)


def _sampled(service: Service, event: Event, now: float, _chance: float) -> Outcome:
    assert isinstance(event, Sampled)  # noqa: S101
    stopped_at = service.stopped_at
    if not event.stopped:
        stopped_at = None
    elif stopped_at is None:
        stopped_at = now
    return replace(
        service,
        progress_at=now if event.grew else service.progress_at,
        busy_at=now if event.busy else service.busy_at,
        stopped_at=stopped_at,
    ), ()


def _restarting_tick(service: Service, _event: Event, now: float, _chance: float) -> Outcome:
    if service.alive or now < service.retry_at:
        return service, ()
    return _start(service, now)


def _settled(service: Service, _event: Event, _now: float, _chance: float) -> Outcome:
    return replace(service, settled=True), ()


def _resumed(service: Service, _event: Event, now: float, _chance: float) -> Outcome:
    return replace(
        service,
        began_at=now,
        progress_at=now,
        ok_at=now,
        failures=0,
        stopped_at=None,
        stranger_at=None,
        probing=False,
        probe_at=now + min(1.0, service.policy.probe_ready),
        working=False,
        work_failures=0,
        worked_at=now,
        work_at=now + service.policy.work_every,
    ), ()


def _restart(service: Service, _event: Event, now: float, _chance: float) -> Outcome:
    asked = replace(
        service,
        state=State.RESTARTING,
        why=REQUESTED,
        requested=service.requested + 1,
        attempts=0,
        retry_at=now,
        forgiven_at=now,
    )
    return asked, (Do.TERMINATE,) if service.alive else ()


def _stop(service: Service, event: Event, _now: float, _chance: float) -> Outcome:
    assert isinstance(event, Stop)  # noqa: S101
    if not service.alive:
        return replace(service, state=State.STOPPED), ()
    return replace(service, state=State.STOPPING), (Do.KILL if event.immediate else Do.TERMINATE,)


def _stop_again(service: Service, event: Event, _now: float, _chance: float) -> Outcome:
    """Hurry; never tell a guard TERM twice, which it takes for a hurry too."""
    assert isinstance(event, Stop)  # noqa: S101
    return service, (Do.KILL,) if event.immediate and service.alive else ()


def _stop_failed(service: Service, event: Event, _now: float, _chance: float) -> Outcome:
    """A failed service keeps its name for it; what is left of it is taken down all the same."""
    assert isinstance(event, Stop)  # noqa: S101
    return service, (Do.KILL,) if service.alive else ()


def _stopped(service: Service, _event: Event, _now: float, _chance: float) -> Outcome:
    return replace(service, state=State.STOPPED, alive=False), ()


TABLE: dict[tuple[State, type], Callable[[Service, Event, float, float], Outcome]] = {
    (State.PENDING, Tick): _pending_tick,
    (State.STARTING, SpawnFailed): _spawn_failed,
    (State.STARTING, Tick): _starting_tick,
    (State.STARTING, Answered): _starting_answered,
    (State.STARTING, Ended): _ended,
    (State.STARTING, Gone): _gone,
    (State.READY, Tick): _watched_tick,
    (State.READY, Answered): _watched_answered,
    (State.READY, Worked): _worked,
    (State.READY, Ended): _ended,
    (State.READY, Gone): _gone,
    (State.READY, Restart): _restart,
    (State.UNREADY, Tick): _watched_tick,
    (State.UNREADY, Answered): _watched_answered,
    (State.UNREADY, Worked): _worked,
    (State.UNREADY, Ended): _ended,
    (State.UNREADY, Gone): _gone,
    (State.UNREADY, Restart): _restart,
    (State.RESTARTING, Tick): _restarting_tick,
    (State.STOPPING, Gone): _stopped,
    (State.STOPPING, Stop): _stop_again,
    (State.STOPPED, Stop): _stop_again,
    (State.FAILED, Stop): _stop_failed,
    (State.FAILED, Restart): _restart,
}
# What an event does in every state that has no row of its own for it.
ALWAYS: dict[type, Callable[[Service, Event, float, float], Outcome]] = {
    Gone: _empty,
    Sampled: _sampled,
    Settled: _settled,
    Resumed: _resumed,
    Stop: _stop,
}
