"""The supervisor of one stack: `loop` carries it out, `executor` each of its services (`run`), `trees` their processes.

`ending` has the deadlines of its end, `logcaps` its logs; `events` is what it tells, `looks` and `clocks` how it looks at
services and at time, `inbox` what wakes it, `store` its lock and state file.
"""

from stackctl.stopping import StopReport, stop
from stackctl.supervisor.events import AlreadyRunning, Ended, Event, Ready, ServiceChanged, Stopping, Tick
from stackctl.supervisor.loop import Supervisor
from stackctl.transitions import RestartPolicy

__all__ = [
    "AlreadyRunning",
    "Ended",
    "Event",
    "Ready",
    "RestartPolicy",
    "ServiceChanged",
    "StopReport",
    "Stopping",
    "Supervisor",
    "Tick",
    "stop",
]
