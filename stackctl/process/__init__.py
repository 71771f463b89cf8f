"""The only place that starts processes: below a guard (`to_end`, `service`), or as the user's own (`unguarded`)."""

from stackctl.process.logs import open_log, tail
from stackctl.process.service import Child, spawn
from stackctl.process.to_end import Completed, RunTimeoutError, run
from stackctl.process.unguarded import attend, become, detach

__all__ = ["Child", "Completed", "RunTimeoutError", "attend", "become", "detach", "open_log", "run", "spawn", "tail"]
