"""The life of one service as a pure table: (service, event, now) -> (service, what to do).

Nothing here reads a clock, starts a thread or knows what a language model is: times come in as seconds of one
monotonic clock, chance as a number. What to do is carried out by `supervisor/loop.py`, which reports back by events.

    pending -> starting -> ready <-> unready
                  |          |         |
                  +----------+---------+--> restarting -> starting ...   (once the stack has been ready)
                  +--> failed                                            (a start that fails; a crash loop)
    any -> stopping -> stopped
"""

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
from stackctl.transitions.service import RestartPolicy, Service
from stackctl.transitions.table import ALWAYS, REQUESTED, TABLE, step

__all__ = [
    "ALWAYS",
    "REQUESTED",
    "TABLE",
    "Answer",
    "Answered",
    "Do",
    "Ended",
    "Event",
    "Gone",
    "Restart",
    "RestartPolicy",
    "Resumed",
    "Sampled",
    "Service",
    "Settled",
    "SpawnFailed",
    "Stop",
    "Tick",
    "Worked",
    "step",
]
