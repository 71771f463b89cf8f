"""The table, row by row: pure, so every moment can be told exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stackctl.model import State
from stackctl.transitions import (
    Answer,
    Answered,
    Do,
    Ended,
    Event,
    Gone,
    Restart,
    RestartPolicy,
    Resumed,
    Sampled,
    Service,
    Settled,
    SpawnFailed,
    Stop,
    Tick,
    Worked,
    step,
)

POLICY = RestartPolicy(jitter=0.0)
OK = Answered(Answer.OK)
SILENT = Answered(Answer.SILENT, "no answer within 3 s")
BROKEN = Answered(Answer.BROKEN, "it answers status 503")
BUSY = Sampled(grew=True, busy=True, stopped=False)
IDLE = Sampled(grew=False, busy=False, stopped=False)


class Life:
    """A service and its clock."""

    def __init__(self, *, policy: RestartPolicy = POLICY, start_timeout: float = 60.0, settled: bool = True) -> None:
        self.now = 1000.0
        self.service = Service(policy, start_timeout, settled=settled)
        self.did: list[Do] = []

    def feed(self, *events: Event, after: float = 0.0, chance: float = 0.5) -> Life:
        self.now += after
        for event in events:
            self.service, did = step(self.service, event, self.now, chance)
            self.did += did
        return self

    def pass_time(self, seconds: float, *answers: Event) -> Life:
        """Tick each half second; each probe gets the answers in turn, the last one for ever."""
        until = self.now + seconds
        left = list(answers)
        while self.now < until:
            self.feed(Tick(), after=0.5)
            if self.service.probing and left:
                self.feed(left[0])
                if len(left) > 1:
                    left.pop(0)
        return self

    def state(self) -> State:
        return self.service.state


def started(**kind: object) -> Life:
    return Life(**kind).feed(Tick())  # type: ignore[arg-type]


def ready(**kind: object) -> Life:
    return started(**kind).feed(Tick(), OK)


def test_a_start_goes_by_probe_to_ready() -> None:
    life = started()
    assert (life.state(), life.did) == (State.STARTING, [Do.START])
    life.feed(Tick())
    assert life.did == [Do.START, Do.PROBE]
    life.feed(Tick())
    assert life.did == [Do.START, Do.PROBE]  # one probe at a time
    life.feed(OK)
    assert life.state() is State.READY


def test_a_death_in_the_first_start_fails_and_is_not_retried() -> None:
    life = started(settled=False).feed(Ended("it ended with exit code 1"), Gone())
    assert (life.state(), life.service.why, life.service.alive) == (State.FAILED, "it ended with exit code 1", False)
    life.pass_time(100)
    assert life.did == [Do.START, Do.PROBE][:1]


def test_what_cannot_be_started_at_all_fails() -> None:
    life = started(settled=False).feed(SpawnFailed("no such file"))
    assert (life.state(), life.service.alive) == (State.FAILED, False)


def test_after_the_stack_was_ready_a_death_is_healed_once_the_tree_is_empty() -> None:
    life = ready().feed(Ended("it was killed by signal 9"))
    assert life.state() is State.RESTARTING
    life.pass_time(20)
    assert life.state() is State.RESTARTING  # the old tree still holds memory and port
    life.feed(Gone()).feed(Tick())
    assert life.state() is State.STARTING
    assert life.service.restarts == 1


def test_restarts_that_were_asked_for_are_told_from_deaths() -> None:
    life = ready().feed(Restart()).feed(Ended("it exited with 0")).feed(Gone()).feed(Tick())
    assert (life.state(), life.service.restarts, life.service.requested) == (State.STARTING, 1, 1)
    life.feed(Ended("it was killed by signal 9")).feed(Gone())
    life.pass_time(40)
    assert (life.service.restarts, life.service.requested) == (2, 1)


def test_backoff_doubles_and_is_spread() -> None:
    delays = []
    for chance in (0.0, 0.5, 0.999999):
        life = ready(policy=RestartPolicy(jitter=0.2)).feed(Ended("x"), Gone(), chance=chance)
        delays.append(life.service.retry_at - life.now)
    assert delays == pytest.approx([0.8, 1.0, 1.2], abs=1e-4)
    life = ready()
    delays = []
    for _ in range(4):
        life.feed(Ended("x"), Gone())
        delays.append(life.service.retry_at - life.now)
        life.feed(Tick(), after=delays[-1]).feed(Tick()).feed(OK)
    assert delays == [1, 2, 4, 8]


def test_a_crash_loop_ends_with_its_cause() -> None:
    life = ready()
    for _ in range(20):
        life.feed(Ended("boom"), Gone()).pass_time(10, OK)
    assert life.state() is State.FAILED
    assert life.service.why == "given up after 5 starts: boom"
    assert life.did.count(Do.START) == 5


def test_crashes_far_apart_are_no_loop() -> None:
    life = ready()
    for _ in range(20):
        life.pass_time(200, OK).feed(Ended("boom"), Gone()).pass_time(60, OK)
    assert life.state() is State.READY
    assert life.did.count(Do.START) == 21


def test_slow_loads_that_never_become_ready_are_a_loop_too() -> None:
    life = ready(start_timeout=10_000.0)
    life.feed(Ended("boom"), Gone())
    for _ in range(20):
        life.pass_time(60)
        life.feed(BUSY, after=900).feed(Ended("boom"), Gone())
    assert life.state() is State.FAILED
    assert life.did.count(Do.START) <= 6


def test_a_load_that_progresses_may_take_for_ever() -> None:
    life = started(settled=False)
    for _ in range(100):
        life.feed(BUSY, Tick(), after=30)
    assert life.state() is State.STARTING


def test_a_load_that_stalls_is_killed() -> None:
    life = started(settled=False)
    life.feed(IDLE, Tick(), after=59)
    assert life.state() is State.STARTING
    life.feed(IDLE, Tick(), after=2)
    assert (life.state(), life.did[-1]) == (State.FAILED, Do.KILL)
    assert "no progress for 60 s" in life.service.why


def test_one_missed_probe_is_nothing() -> None:
    life = ready().pass_time(4, SILENT, OK)
    assert life.state() is State.READY


def test_silence_without_work_is_a_hang() -> None:
    life = ready().pass_time(5, SILENT)
    assert life.state() is State.UNREADY
    life.pass_time(10, SILENT)
    assert (life.state(), life.did[-1]) == (State.RESTARTING, Do.KILL)
    assert life.service.why.startswith("no answer within 3 s, for 1")


def test_silence_of_a_busy_engine_is_not() -> None:
    life = ready()
    for _ in range(29):
        life.feed(BUSY).pass_time(10, SILENT)
    assert life.state() is State.UNREADY
    assert Do.KILL not in life.did
    life.pass_time(1, OK)
    assert life.state() is State.READY


def test_but_not_for_ever() -> None:
    life = ready()
    for _ in range(35):
        life.feed(BUSY).pass_time(10, SILENT)
    assert Do.KILL in life.did


def test_an_answer_that_says_broken_is_believed_soon() -> None:
    life = ready().feed(BUSY).pass_time(4, BROKEN)
    assert (life.state(), life.did[-1]) == (State.RESTARTING, Do.KILL)
    assert "503" in life.service.why


def test_a_stopped_process_behind_a_healthy_health_is_a_hang() -> None:
    stopped = Sampled(grew=False, busy=False, stopped=True)
    life = ready().feed(stopped).pass_time(11, OK)
    assert life.state() is State.READY
    life.feed(stopped).pass_time(3, OK)
    assert (life.state(), life.did[-1]) == (State.RESTARTING, Do.KILL)
    life = ready().feed(stopped).pass_time(8, OK).feed(IDLE).pass_time(8, OK)
    assert life.state() is State.READY  # it was continued


def test_a_stranger_on_the_port_fails_a_start_soon_and_never_counts_as_ready() -> None:
    stranger = Answered(Answer.STRANGER, "port 8000 is held by nginx (pid 7)")
    life = started(settled=False).pass_time(1.5, stranger)
    assert life.state() is State.STARTING
    life.pass_time(2, stranger)
    assert (life.state(), life.did[-1]) == (State.FAILED, Do.KILL)
    assert life.service.why == stranger.why


def test_after_a_suspend_nothing_that_was_measured_before_counts() -> None:
    life = ready().pass_time(6, SILENT)
    assert life.state() is State.UNREADY
    life.feed(Resumed(), after=36_000)
    life.feed(Tick())
    assert life.state() is State.UNREADY
    assert Do.KILL not in life.did
    life.pass_time(3, OK)
    assert life.state() is State.READY
    life = started(settled=False).feed(Resumed(), Tick(), after=36_000)
    assert life.state() is State.STARTING


@pytest.mark.parametrize("state", [each for each in State if each not in {State.FAILED, State.STOPPED}])
@pytest.mark.parametrize("immediate", [False, True])
def test_stop_works_in_every_state(state: State, immediate: bool) -> None:
    service = replace(ready().service, state=state, alive=True)
    service, did = step(service, Stop(immediate), 2000.0)
    told = () if state is State.STOPPING and not immediate else (Do.KILL if immediate else Do.TERMINATE,)
    assert (service.state, did) == (State.STOPPING, told)  # a second TERM would tell the guard to kill at once
    for event in (Tick(), OK, SILENT, Ended("x"), IDLE, Resumed(), Settled()):
        service, did = step(service, event, 2001.0)
        assert (service.state, did) == (State.STOPPING, ())
    service, _ = step(service, Gone(), 2002.0)
    assert (service.state, service.alive) == (State.STOPPED, False)
    assert step(service, Tick(), 3000.0) == (service, ())


def test_stop_before_anything_was_started() -> None:
    service, did = step(Service(POLICY, 60.0), Stop(), 1.0)
    assert (service.state, did) == (State.STOPPED, ())


def test_every_event_in_every_state_is_safe() -> None:
    events: list[Event] = [
        Tick(), SpawnFailed("x"), Ended("x"), Gone(), OK, SILENT, BROKEN, BUSY, IDLE, Settled(), Resumed(), Stop(), Stop(True),
    ]  # fmt: skip
    for state in State:
        for alive in (True, False):
            for event in events:
                service = replace(ready().service, state=state, alive=alive)
                after, did = step(service, event, 5000.0)
                assert Do.START not in did or not alive or state is State.PENDING
                if state in {State.STOPPED, State.FAILED}:
                    assert after.state in {State.STOPPED, State.FAILED}


HUNG = Worked(hung=True, why="no answer")
WORKS = Worked(hung=False)


def deep() -> Life:
    life = Life()
    life.service = replace(life.service, deep=True)
    return life.feed(Tick(), OK)


def test_work_is_looked_at_while_ready_one_look_at_a_time() -> None:
    life = deep().pass_time(30, OK)
    assert life.did.count(Do.WORK) == 1
    life.feed(WORKS).pass_time(9, OK)
    assert life.did.count(Do.WORK) == 2
    assert Do.WORK not in Life().feed(Tick(), OK).pass_time(30, OK).did


def test_two_looks_in_vain_are_a_hang_found_within_half_a_minute() -> None:
    life = deep().pass_time(POLICY.work_every, OK)  # it hangs from the moment that it was ready
    began = life.now
    life.feed(HUNG, after=POLICY.work_timeout)
    assert life.state() is State.READY
    life.pass_time(1, OK).feed(HUNG, after=POLICY.work_timeout)
    assert life.state() is State.RESTARTING
    assert "no answer, for" in life.service.why
    assert life.did[-1] is Do.KILL
    assert life.now - began + POLICY.work_every <= 30


def test_a_busy_service_is_given_time_and_progress_forgives_all() -> None:
    life = deep()
    for _ in range(10):
        life.feed(BUSY, HUNG, after=9).pass_time(1, OK)
    assert life.state() is State.READY
    life.feed(WORKS)
    assert life.service.work_failures == 0
    life.feed(HUNG, after=20)
    assert life.state() is State.READY


def test_even_a_busy_service_must_get_on_some_time() -> None:
    life = deep()
    for _ in range(40):
        life.feed(BUSY, HUNG, after=9)
    assert life.state() is State.RESTARTING


def test_a_sleep_between_two_looks_voids_them() -> None:
    life = deep().feed(HUNG, after=9)
    life.feed(Resumed(), HUNG, after=3600)
    assert life.state() is State.READY


def test_a_start_that_spins_ends_at_its_cap() -> None:
    life = Life(settled=False)
    life.service = replace(life.service, start_cap=100.0)
    life.feed(Tick())
    while life.now < 1099:
        life.feed(BUSY, Tick(), after=1)
        assert life.state() is State.STARTING
    life.feed(BUSY, Tick(), after=3)
    assert life.state() is State.FAILED
    assert life.service.why == "not ready after 100 s, though it goes on"
