"""Which process is which: a pid alone is recycled; pid, start time and boot together are not.

Only `os` is imported: `stackctl env` loads this module. Times are in kernel clock ticks since boot (field 22 of
`/proc/PID/stat`, proc(5)): unlike a wall-clock creation time they do not shift when the clock is set.
"""

import os

RUN_MARK = "STACKCTL_RUN"  # in a service's environment: a second means to find what a run has started
_LINUX = os.path.isdir("/proc/self")


class Identity:
    """One process of one boot of one machine."""

    __slots__ = ("boot_id", "pid", "start_ticks")

    def __init__(self, pid: int, start_ticks: int, boot_id: str) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self.boot_id = boot_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and (self.pid, self.start_ticks, self.boot_id) == (
            other.pid,
            other.start_ticks,
            other.boot_id,
        )

    def __hash__(self) -> int:
        return hash((self.pid, self.start_ticks, self.boot_id))

    def __repr__(self) -> str:
        return f"Identity(pid={self.pid}, start_ticks={self.start_ticks}, boot_id={self.boot_id!r})"


class ProcessRow:
    """What one line of the process table says; `cpu_ticks` is user and system time in clock ticks."""

    __slots__ = ("cpu_ticks", "parent", "pgid", "pid", "sid", "start_ticks", "state")

    def __init__(self, pid: int, fields: "list[bytes]") -> None:
        self.pid = pid
        self.state = fields[0].decode()
        self.parent, self.pgid, self.sid = int(fields[1]), int(fields[2]), int(fields[3])
        self.cpu_ticks = int(fields[11]) + int(fields[12])
        self.start_ticks = int(fields[19])

    @property
    def ended(self) -> bool:
        """It has ended and waits for its parent to notice."""
        return self.state in "ZX"


def _read(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = os.read(handle, 65536)
        while len(raw) % 65536 == 0 and (more := os.read(handle, 65536)):
            raw += more
        return raw
    finally:
        os.close(handle)


def boot_id() -> str:
    """Name this boot of this machine, and the pid namespace (a container's numbers mean nothing outside it)."""
    try:
        boot = _read("/proc/sys/kernel/random/boot_id").decode().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        import psutil  # no /proc: macOS

        return f"boot-{int(psutil.boot_time()) // 60}"


def row(pid: int) -> ProcessRow | None:
    """Return the process table's line of `pid`; None when there is none."""
    if not _LINUX:
        return _foreign_rows(pid).get(pid)
    try:
        return ProcessRow(pid, _read(f"/proc/{pid}/stat").rpartition(b")")[2].split())
    except (OSError, ValueError, IndexError):
        return None


def table() -> dict[int, ProcessRow]:
    """Return the whole process table."""
    if not _LINUX:
        return _foreign_rows(None)
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (each := row(int(name))) is not None:
            found[each.pid] = each
    return found


def _foreign_rows(only: int | None) -> dict[int, ProcessRow]:
    import psutil  # no /proc: macOS

    found = {}
    for pid in psutil.pids() if only is None else [only]:
        try:
            process = psutil.Process(pid)
            cpu = process.cpu_times()
            fields = [b"Z" if process.status() == psutil.STATUS_ZOMBIE else b"S", b"%d" % process.ppid()]
            fields += [b"%d" % os.getpgid(pid), b"%d" % os.getsid(pid)] + [b"0"] * 7
            fields += [b"%d" % (cpu.user * 100), b"%d" % (cpu.system * 100)] + [b"0"] * 6
            fields += [b"%d" % (process.create_time() * 100)]
        except (psutil.Error, OSError):
            continue
        found[pid] = ProcessRow(pid, fields)
    return found


def descendants(root: int, rows: dict[int, ProcessRow]) -> list[ProcessRow]:
    """Return every living descendant of `root` in `rows`, without `root` itself."""
    found: dict[int, ProcessRow] = {}
    edge = {root}
    while edge:
        edge = {pid for pid, each in rows.items() if each.parent in edge and pid not in found}
        found.update((pid, rows[pid]) for pid in edge)
    return [each for each in found.values() if not each.ended]


def start_ticks(pid: int) -> int | None:
    """Return when `pid` started, in clock ticks since boot; None when there is no such process."""
    each = row(pid)
    return None if each is None else each.start_ticks


def of(pid: int) -> Identity | None:
    """Return the identity of the living process `pid`; None when there is none."""
    ticks = start_ticks(pid)
    return None if ticks is None else Identity(pid, ticks, boot_id())


def mine() -> Identity:
    """Return our own identity."""
    return Identity(os.getpid(), start_ticks(os.getpid()) or 0, boot_id())


def alive(identity: Identity) -> bool:
    """Say whether that very process lives (an ended one that nobody has waited for does not)."""
    if identity.pid <= 0 or identity.boot_id != boot_id():
        return False
    each = row(identity.pid)
    return each is not None and each.start_ticks == identity.start_ticks and not each.ended


def send(identity: Identity, signum: int) -> bool:
    """Signal that very process, and never one that got its number since; False when it is gone or not ours."""
    if not hasattr(os, "pidfd_open"):
        if not alive(identity):
            return False
        try:
            os.kill(identity.pid, signum)
        except OSError:
            return False
        return True
    try:
        handle = os.pidfd_open(identity.pid)
    except (OSError, ValueError, OverflowError):
        return False
    try:
        if not alive(identity):  # asked after the handle was taken: from here on it cannot become someone else
            return False
        from signal import pidfd_send_signal

        pidfd_send_signal(handle, signum)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
