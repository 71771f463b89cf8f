"""The only place that starts processes (the guard, which runs on its own, starts the service itself)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stackctl import identity
from stackctl.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stackctl.model import ProcessSpec

GUARD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guard.py")
RUN_MARK = "STACKCTL_RUN"  # in a service's environment: a second means to find what a run has started
_GUARD_STARTS = 20.0  # seconds in which the guard must have started the service; 0.02 is usual
_TICK = 0.2  # seconds: how late the exit of a program whose pipe a grandchild holds open may be noticed
_KEPT = 4 * 1024 * 1024  # characters of output kept in memory; an installer that floods must not fill ours


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished program: its exit code (negative: the signal that ended it) and stdout and stderr merged."""

    returncode: int
    output: str


class RunTimeoutError(StackError):
    """A program did not end within the time it was given; its whole process group has been killed."""


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout: float,
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    """Run a program to its end, at most `timeout` seconds, handing each line of output to `on_line` as it comes.

    A carriage return ends a line too (progress bars). `env` is the whole environment; None inherits ours. The
    program has its own session, and that process group is killed when it exits, on timeout, and on any exception,
    Ctrl-C included: nothing that it left in the background stays. Raises StackError when it cannot be started
    and RunTimeoutError when it takes too long.
    """
    deadline = time.monotonic() + timeout
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise StackError(f"cannot start {argv[0]}: {error.strerror}", remedy=f"is {argv[0]} installed?") from error
    assert child.stdout is not None  # noqa: S101 - for the type checker
    reader = _Lines(on_line)
    try:
        with child.stdout, selectors.DefaultSelector() as selector:
            os.set_blocking(child.stdout.fileno(), False)
            selector.register(child.stdout, selectors.EVENT_READ)
            while True:
                exited = child.poll() is not None  # asked before reading, so that the last output is not lost
                if selector.select(0 if exited else _TICK):
                    raw = os.read(child.stdout.fileno(), 65536)
                    if raw:
                        reader.feed(raw)
                        _check(deadline, argv, timeout, reader)
                        continue
                    break  # end of file: nobody holds the pipe
                if exited:
                    break  # a grandchild holds the pipe, but the program itself has ended
                _check(deadline, argv, timeout, reader)
        while child.poll() is None:  # it closed its output and goes on
            _check(deadline, argv, timeout, reader)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(min(_TICK, max(0.0, deadline - time.monotonic())))
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
    return Completed(child.returncode, reader.finish())


def _check(deadline: float, argv: Sequence[str], timeout: float, reader: _Lines) -> None:
    if time.monotonic() > deadline:
        raise RunTimeoutError(
            f"{os.path.basename(argv[0])} did not end within {timeout:g} s",
            evidence=tuple(reader.finish().splitlines()[-20:]),
        )


@dataclass(slots=True)
class Child:
    """A service and its guard, as they were started. All ids are of the service's leader but `guard`.

    `log_from` is the log's size at the start, in bytes: what is behind it belongs to this start. `lifeline` and
    `status` are descriptors: closing the first has the guard kill the whole tree at once, the second is readable
    when the guard has said something.
    """

    spec: ProcessSpec
    guard: identity.Identity
    leader: identity.Identity
    pgid: int
    sid: int
    log_from: int
    lifeline: int
    status: int
    _popen: subprocess.Popen[bytes] = field(repr=False)
    _rest: bytes = field(default=b"", repr=False)

    def messages(self) -> list[dict[str, Any]]:
        """Return what the guard has said since last asked; `{"event": "lost"}` when it is gone."""
        lost = False
        while self.status >= 0 and not lost:
            try:
                raw = os.read(self.status, 65536)
            except BlockingIOError:
                break
            self._rest += raw
            lost = not raw
        *lines, self._rest = self._rest.split(b"\n")
        said: list[dict[str, Any]] = [json.loads(line) for line in lines]
        if lost:
            os.close(self.status)
            self.status = -1
            said.append({"event": "lost"})
        return said

    def terminate(self) -> None:
        """Ask the guard to end the service gently: TERM, the grace, KILL."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Have the guard kill the whole tree now."""
        self._signal(signal.SIGINT)

    def _signal(self, signum: int) -> None:
        if self._popen.poll() is None:  # not waited for, so its number is still its own
            self._popen.send_signal(signum)

    def close(self, timeout: float = 5.0) -> bool:
        """Let go of the guard, whose tree is then killed if it still lives; False when it does not end in `timeout` s."""
        for handle in (self.lifeline, self.status):
            if handle >= 0:
                os.close(handle)
        self.lifeline = self.status = -1
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True


def open_log(path: str) -> int:
    """Open a service's log for appending, mode 0600; a symlink or anything but a file of ours is refused."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
        os.close(handle)
        raise OSError(0, "it is not a file of yours")
    os.fchmod(handle, 0o600)
    return handle


def spawn(spec: ProcessSpec, *, run_id: str = "") -> Child:
    """Start `spec` below a guard of its own and return once its leader runs; nothing has been waited for yet.

    The guard has a session of its own, so that a terminal's Ctrl-C reaches only the supervisor. Raises StackError
    when the program cannot be started.
    """
    try:
        log = open_log(spec.log)
    except OSError as error:
        raise StackError(f"cannot write the log {spec.log}: {error.strerror}", remedy=f"rm {spec.log}") from error
    log_from = os.fstat(log).st_size
    lifeline_read, lifeline = os.pipe()
    status, status_write = os.pipe()
    try:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", GUARD, str(lifeline_read), str(status_write), f"{spec.grace:g}", *spec.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**spec.env, **({RUN_MARK: run_id} if run_id else {})},
            cwd=spec.cwd,
            pass_fds=(lifeline_read, status_write),
            start_new_session=True,
        )
    except OSError as error:
        os.close(lifeline)
        os.close(status)
        where = f" in {spec.cwd}" if error.filename == spec.cwd else ""
        raise StackError(f"cannot start {spec.name}{where}: {error.strerror}") from error
    finally:
        for handle in (log, lifeline_read, status_write):
            os.close(handle)
    os.set_blocking(status, False)
    nobody = identity.Identity(0, 0, "")
    child = Child(spec, identity.of(guard.pid) or nobody, nobody, 0, 0, log_from, lifeline, status, guard)
    try:
        _await_start(child)
    except BaseException:
        child.close()
        raise
    return child


def _await_start(child: Child) -> None:
    """Take the guard's first word."""
    deadline = time.monotonic() + _GUARD_STARTS
    ready = select.poll()
    ready.register(child.status, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        ready.poll(left * 1000)
        raw = b""
        with contextlib.suppress(BlockingIOError):
            raw = os.read(child.status, 4096)
            if not raw:
                break
        child._rest += raw  # noqa: SLF001 - ours
        if b"\n" not in child._rest:  # noqa: SLF001
            continue
        line, _, child._rest = child._rest.partition(b"\n")  # noqa: SLF001
        said = json.loads(line)
        if said["event"] == "failed":
            why = os.strerror(said["errno"] or 0)
            raise StackError(f"cannot start {child.spec.name}: {child.spec.argv[0]}: {why}")
        child.leader = identity.Identity(said["pid"], said["start_ticks"], child.guard.boot_id)
        child.pgid, child.sid = said["pgid"], said["sid"]
        return
    raise StackError(f"cannot start {child.spec.name}: its guard did not start", evidence=tail(child.spec.log))


def tail(path: str, *, lines: int = 20, since: int = 0) -> tuple[str, ...]:
    """Return the last lines of a log, of what was written behind byte `since`; empty when it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ()
    with os.fdopen(handle, "rb") as log:
        size = os.fstat(handle).st_size
        log.seek(max(min(since, size), size - 65536))
        text = log.read(65536).decode(errors="replace")
    return tuple(line.rstrip("\r") for line in text.splitlines()[-lines:])


class _Lines:
    """Bytes in, whole lines out."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._on_line = on_line
        self._rest = b""
        self._kept: list[str] = []
        self._size = 0

    def feed(self, raw: bytes) -> None:
        *lines, self._rest = (self._rest + raw).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._emit(line.decode(errors="replace"))

    def _emit(self, line: str) -> None:
        self._kept.append(line)
        self._size += len(line) + 1
        while self._size > _KEPT and len(self._kept) > 1:
            self._size -= len(self._kept.pop(0)) + 1
        if self._on_line is not None and line:
            self._on_line(line)

    def finish(self) -> str:
        if self._rest:
            rest, self._rest = self._rest, b""
            self._emit(rest.decode(errors="replace"))
        return "".join(f"{line}\n" for line in self._kept)
