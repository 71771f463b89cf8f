"""What runs, on disk: a lock that the supervisor holds for life, and a state file that others read.

The lock (flock) is the truth about *whether* a supervisor lives; the state file says *what* it runs. The file is
written by rename, and is believed only as far as it can be checked: a process is named by pid, start time and boot.
"""

from stackctl.runstate.lastfailure import Failed
from stackctl.runstate.lock import Lock, is_locked, signature
from stackctl.runstate.owner import await_ready, holder, lockless, recorded, running, settled
from stackctl.runstate.reconciling import mark_of, reconcile, reconcile_locked
from stackctl.runstate.records import SCHEMA, ServiceRecord, StackState
from stackctl.runstate.scratch import make_tmp, remove_tmp, tmp_dirs, tmp_path
from stackctl.runstate.statefile import OtherVersionError, clear, peek, read, write, write_record

__all__ = [
    "SCHEMA",
    "Failed",
    "Lock",
    "OtherVersionError",
    "ServiceRecord",
    "StackState",
    "await_ready",
    "clear",
    "holder",
    "is_locked",
    "lockless",
    "make_tmp",
    "mark_of",
    "peek",
    "read",
    "reconcile",
    "reconcile_locked",
    "recorded",
    "remove_tmp",
    "running",
    "settled",
    "signature",
    "tmp_dirs",
    "tmp_path",
    "write",
    "write_record",
]
