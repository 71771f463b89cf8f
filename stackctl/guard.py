"""The guard: the small process between the supervisor and one service, that outlives neither.

Run as `python -I -S guard.py LIFELINE STATUS GRACE ARGV...` in a session of its own, with the service's environment,
working directory and output. Standard library only, and nothing that can fail unnoticed: whatever happens here,
the service's tree is killed before this process ends.

LIFELINE is the read end of a pipe whose other end only the supervisor holds: end-of-file means that it is gone.
STATUS is a pipe for JSON lines: `started`, `failed`, `exited`, `empty`. GRACE is in seconds, from TERM to KILL.

  TERM           the leader is told; at 3/4 of the grace everything is; at the grace, KILL
  TERM again     KILL now (INT and QUIT do the same the first time)
  end-of-file    KILL now
  leader ended   everything else is told, and killed after at most 2 s

vLLM leaves its engine alive when only its API server dies, so "ended" is not the leader's end: it is when
`waitpid` says that no child is left. On Linux every orphan of the tree is given to the guard (subreaper), also one
that made a session of its own; elsewhere the process group is what can be reached.
"""

import contextlib
import os
import select
import signal
import sys
import time

REST = 2.0  # seconds that the rest of a tree gets to end by itself once its leader has ended
LINUX = sys.platform == "linux"


def become_subreaper() -> None:
    """Have orphans of the tree given to this process instead of to init (Linux; elsewhere nothing)."""
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(36, *(ctypes.c_ulong(each) for each in (1, 0, 0, 0)))  # PR_SET_CHILD_SUBREAPER


def process_table() -> dict[int, tuple[int, int]]:
    """Return {pid: (parent's pid, start ticks)} of all processes that are not zombies; empty where there is no /proc."""
    table: dict[int, tuple[int, int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return table
    for name in names:
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
                if fields[0] not in b"ZX":
                    table[int(name)] = (int(fields[1]), int(fields[19]))
    return table


def below(root: int) -> dict[int, int]:
    """Return {pid: start ticks} of every living descendant of `root`."""
    table = process_table()
    found: dict[int, int] = {}
    edge = {root}
    while edge:
        edge = {pid for pid, (parent, _) in table.items() if parent in edge and pid not in found}
        found.update((pid, table[pid][1]) for pid in edge)
    return found


def signal_exactly(pid: int, ticks: int, signum: int) -> None:
    """Signal the process that was seen, not one that has got its number since."""
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            with open(f"/proc/{pid}/stat", "rb") as stat:
                if int(stat.read().rpartition(b")")[2].split()[19]) == ticks:
                    signal.pidfd_send_signal(handle, signum)
        finally:
            os.close(handle)


class Guard:
    """One service, from its start to the end of its last process."""

    def __init__(self, lifeline: int, status: int, grace: float, argv: list[str]) -> None:
        self.lifeline = lifeline
        self.status = status
        self.grace = grace
        self.argv = argv
        self.leader = 0
        self.leader_code: int | None = None  # as a shell would say it: 128 + signal
        self.reaped = False  # the leader has been waited for
        self.rounds = 0  # of KILL
        self.told: str = ""  # "", "leader", "all", "kill": how far taking down has come
        self.tell_all_at = self.kill_at = float("inf")

    def say(self, event: str, **facts: int | None) -> None:
        """Write one JSON line to the supervisor, if there is one and it reads."""
        pairs = [f'"event":"{event}"', *(f'"{key}":{"null" if fact is None else fact}' for key, fact in facts.items())]
        with contextlib.suppress(OSError):
            os.write(self.status, ("{" + ",".join(pairs) + "}\n").encode())

    def start(self) -> bool:
        """Start the service in its own process group; False when it cannot be started."""
        defaults = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]
        try:
            self.leader = os.posix_spawnp(
                self.argv[0], self.argv, os.environ, setpgroup=0, setsigdef=defaults, setsigmask=[]
            )
        except OSError as error:
            self.say("failed", errno=error.errno)
            return False
        ticks = process_table().get(self.leader, (0, 0))[1]
        self.say("started", pid=self.leader, pgid=self.leader, sid=os.getsid(0), start_ticks=ticks)
        return True

    def tell(self, signum: int) -> None:
        """Signal every process of the tree."""
        if not self.reaped:  # the number of the group is ours until its leader has been waited for, which is done last
            with contextlib.suppress(OSError):
                os.killpg(self.leader, signum)
        for pid, ticks in below(os.getpid()).items():
            signal_exactly(pid, ticks, signum)

    def reap(self) -> bool:
        """Collect ended children, the leader last so that its numbers stay taken; True when no child is left."""
        try:
            if not LINUX:  # no subreaper: the leader is the only child
                pid, code = os.waitpid(self.leader, os.WNOHANG)
                if pid:
                    self.leader_ended(os.waitstatus_to_exitcode(code))
                    self.tell(signal.SIGKILL)
                    self.reaped = True
                return self.reaped
            while True:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None:
                    return False
                if ended.si_pid == self.leader:
                    clean = ended.si_code == os.CLD_EXITED
                    self.leader_ended(ended.si_status if clean else -ended.si_status)
                    if self.others_left():
                        return False
                    self.reaped = True
                os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            return True

    def others_left(self) -> bool:
        """Say whether children beside the (ended) leader are left, collecting those that have ended as well."""
        for pid in self.children():
            if pid != self.leader:
                with contextlib.suppress(OSError):
                    os.waitpid(pid, os.WNOHANG)
        return any(pid != self.leader for pid in self.children())

    @staticmethod
    def children() -> list[int]:
        """Return our direct children, ended ones too."""
        ours = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stat:
                    if int(stat.read().rpartition(b")")[2].split()[1]) == os.getpid():
                        ours.append(int(name))
        return ours

    def leader_ended(self, code: int) -> None:
        """Report the leader's end once, and begin to take down what it left behind."""
        if self.leader_code is not None:
            return
        self.leader_code = code if code >= 0 else 128 - code
        self.say("exited", code=code if code >= 0 else None, signal=-code if code < 0 else None)
        if self.told in {"", "leader"}:
            self.tell_all_at = 0.0
            self.kill_at = min(self.kill_at, time.monotonic() + REST)

    def asked_to_end(self, signum: int) -> None:
        """First TERM: gently. Anything else, or again: at once."""
        if signum == signal.SIGTERM and not self.told:
            self.told = "leader"
            now = time.monotonic()
            self.tell_all_at = min(self.tell_all_at, now + 0.75 * self.grace)
            self.kill_at = min(self.kill_at, now + self.grace)
            if self.leader_code is None:
                os.kill(self.leader, signal.SIGTERM)
                os.kill(self.leader, signal.SIGCONT)  # a stopped process hears nothing
        else:
            self.kill_at = 0.0

    def advance(self) -> float | None:
        """Do what is due; return the seconds until the next thing is, None when nothing is planned."""
        now = time.monotonic()
        if now >= self.kill_at:
            self.told = "kill"
            self.tell(signal.SIGKILL)
            self.rounds += 1  # again until nothing is left: a fork may have slipped through, a driver may hold one
            return min(0.02 * self.rounds, 1.0)
        if now >= self.tell_all_at and self.told != "all":
            self.told = "all"
            self.tell_all_at = float("inf")
            self.tell(signal.SIGTERM)
            self.tell(signal.SIGCONT)
        due = min(self.tell_all_at, self.kill_at)
        return None if due == float("inf") else max(0.0, due - now)

    def run(self, wakeup: int) -> int:
        """Watch until the last process of the tree has ended; return the leader's code."""
        poll = select.poll()
        poll.register(self.lifeline, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        while not self.reap():
            due = self.advance()
            for handle, _ in poll.poll(None if due is None else due * 1000 + 1):
                if handle == self.lifeline:
                    if not os.read(handle, 4096):  # end-of-file: the supervisor is gone
                        poll.unregister(handle)
                        self.kill_at = 0.0
                    continue
                for signum in os.read(handle, 4096):
                    if signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                        self.asked_to_end(signum)
        self.say("empty")
        return self.leader_code or 0

    def kill_all(self) -> None:
        """Kill until nothing is left, whatever went wrong before."""
        while True:
            self.tell(signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(0.02)


def main() -> int:
    """Set everything up so that nothing can interrupt, then run."""
    lifeline, status = int(sys.argv[1]), int(sys.argv[2])
    reader, writer = os.pipe()
    for handle in (lifeline, status, reader, writer):
        os.set_inheritable(handle, False)
        os.set_blocking(handle, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(signum, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    guard = Guard(lifeline, status, float(sys.argv[3]), sys.argv[4:])
    with contextlib.suppress(OSError, ImportError, AttributeError):
        become_subreaper()
    if not guard.start():
        return 127
    try:
        return guard.run(reader)
    except BaseException as error:  # noqa: BLE001 - nothing may leave the tree behind
        guard.say("broken", errno=getattr(error, "errno", None))
        guard.kill_all()
        return guard.leader_code or 1


if __name__ == "__main__":
    sys.exit(main())
