"""Find what is left of a run whose supervisor and guard both died, prove that it is ours, and kill it.

A recorded pid proves nothing: numbers are recycled, and a state file can be forged. A process is taken for ours only
when it carries the run's mark in its environment, or holds one of the run's logs open for appending (vLLM rewrites
the environment and the arguments of its children, but they go on writing to the log); then also its descendants and
its session, which the guard made for it alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from stackctl import identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackctl.identity import Identity, ProcessRow

_WRITES_APPENDING = os.O_WRONLY | os.O_APPEND


def find(*, mark: str, log: str, trusted: Iterable[Identity] = ()) -> list[ProcessRow]:
    """Return the living processes that carry a mark ending in `mark` or append to a log whose path starts with `log`.

    `trusted` are identities that we know ourselves (never ones read from a file); they need no other proof. Ours and
    our ancestors are never among the found.
    """
    rows = identity.table()
    boot = identity.boot_id()
    known = {(each.pid, each.start_ticks) for each in trusted if each.boot_id == boot}
    spared = _ancestors(os.getpid(), rows)
    seeds = [
        each
        for each in rows.values()
        if each.pid not in spared
        and not each.ended
        and ((each.pid, each.start_ticks) in known or (_is_ours(each.pid) and _proven(each.pid, mark, log)))
    ]
    own_session = os.getsid(0)
    sessions = {each.sid for each in seeds} - {own_session, 0}
    found = {each.pid: each for each in seeds}
    for each in rows.values():
        if each.sid in sessions and not each.ended and each.pid not in spared:
            found[each.pid] = each
    for pid in list(found):
        found.update((each.pid, each) for each in identity.descendants(pid, rows) if each.pid not in spared)
    return sorted(found.values(), key=lambda each: each.pid)


def kill(*, mark: str, log: str, trusted: Iterable[Identity] = (), timeout: float = 10.0) -> tuple[int, list[int]]:
    """Kill all that `find` finds until nothing is; return how many there were, and the pids that would not die."""
    deadline = time.monotonic() + timeout
    boot = identity.boot_id()
    seen: set[tuple[int, int]] = set()
    trusted = list(trusted)
    pause = 0.01
    while left := find(mark=mark, log=log, trusted=trusted):
        # A worker in a session of its own, with nothing but its parent to tell whose it is, must not get lost when
        # the parent dies first: who was found once stays known.
        trusted += [identity.Identity(each.pid, each.start_ticks, boot) for each in left]
        seen.update((each.pid, each.start_ticks) for each in left)
        for each in left:
            identity.send(identity.Identity(each.pid, each.start_ticks, boot), signal.SIGKILL)
        _collect(left)
        if time.monotonic() > deadline:
            return len(seen), [each.pid for each in left]
        time.sleep(pause)
        pause = min(2 * pause, 0.2)
    return len(seen), []


def _collect(rows: Iterable[ProcessRow]) -> None:
    """Wait for those that have become our children (we may be a subreaper, or process 1 of a container)."""
    for each in rows:
        with contextlib.suppress(OSError):
            os.waitpid(each.pid, os.WNOHANG)


def _ancestors(pid: int, rows: dict[int, ProcessRow]) -> set[int]:
    found = set()
    while pid not in found and pid in rows:
        found.add(pid)
        pid = rows[pid].parent
    return found


def _is_ours(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return not os.path.isdir("/proc/self")  # no /proc: psutil refuses other users' processes by itself


def _proven(pid: int, mark: str, log: str) -> bool:
    return _carries(pid, mark) or _appends_to(pid, log)


def _carries(pid: int, mark: str) -> bool:
    return mark_on(pid).endswith(mark)


def mark_on(pid: int) -> str:
    """The mark in a process's environment, which ends as runstate.mark_of does; empty without one, and where we may not look."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            variables = environ.read(1 << 20).split(b"\0")
    except OSError:
        if os.path.isdir("/proc/self"):
            return ""
        import psutil  # no /proc: macOS

        try:
            return psutil.Process(pid).environ().get(identity.RUN_MARK, "")
        except (psutil.Error, OSError):
            return ""
    start = identity.RUN_MARK.encode() + b"="
    return os.fsdecode(next((each[len(start) :] for each in variables if each.startswith(start)), b""))


def _appends_to(pid: int, log: str) -> bool:
    try:
        handles = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for handle in handles:
        with contextlib.suppress(OSError, ValueError, StopIteration):
            if not os.readlink(f"/proc/{pid}/fd/{handle}").startswith(log):
                continue
            with open(f"/proc/{pid}/fdinfo/{handle}") as info:
                flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))
            if flags & _WRITES_APPENDING == _WRITES_APPENDING:
                return True
    return False
