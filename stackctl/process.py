"""The only place that starts processes, each below a guard (`guard.py`), which starts the program itself."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from stackctl import identity
from stackctl.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stackctl.model import ProcessSpec

GUARD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guard.py")
_GUARD_STARTS = 20.0  # seconds in which the guard must have started the service; 0.02 is usual
_TICK = 0.2  # seconds: how late the exit of a program whose pipe a grandchild holds open may be noticed
_KEPT = 4 * 1024 * 1024  # characters of output kept in memory; an installer that floods must not fill ours


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished program: its exit code (negative: the signal that ended it) and stdout and stderr merged."""

    returncode: int
    output: str


class RunTimeoutError(StackError):
    """A program did not end within the time it was given; its whole tree has been killed."""


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
    program runs below a guard: its whole tree is killed on timeout, on any exception, Ctrl-C included, and when we
    are killed ourselves; what it left in the background is ended too. Raises StackError when it cannot be started
    and RunTimeoutError when it takes too long.
    """
    deadline = time.monotonic() + timeout
    output, written = os.pipe()
    reader = _Lines(on_line)
    with os.fdopen(output, "rb", buffering=0):
        try:
            guard = _Guard(argv, dict(os.environ) if env is None else dict(env), cwd, written, grace=2.0)
        finally:
            os.close(written)
        try:
            guard.first_word(argv[0])
            os.set_blocking(output, False)
            waiting = select.poll()
            waiting.register(output, select.POLLIN)
            said: list[dict[str, Any]] = []
            while guard.status >= 0:
                said += guard.messages()  # asked before reading, so that the last output is not lost
                if time.monotonic() > deadline:
                    raise RunTimeoutError(
                        f"{os.path.basename(argv[0])} did not end within {timeout:g} s",
                        evidence=tuple(reader.finish().splitlines()[-20:]),
                    )
                if waiting.poll(_TICK * 1000 if guard.status >= 0 else 0):
                    _drain(output, reader)
        finally:
            guard.close()
        _drain(output, reader)
    code = next((-each["signal"] if each["code"] is None else each["code"] for each in said if "code" in each), 1)
    return Completed(int(code), reader.finish())


def _drain(output: int, reader: _Lines) -> None:
    """Read at most a megabyte of what is there: a flood must not keep us from looking at the clock."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(16):
            raw = os.read(output, 65536)
            if not raw:
                time.sleep(0.01)  # it closed its output and goes on
                return
            reader.feed(raw)


class _Guard:
    """A guard as its parent sees it: a process, the lifeline that it lives by, and what it says."""

    __slots__ = ("_popen", "_rest", "lifeline", "pid", "status")

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None, output: int, *, grace: float
    ) -> None:
        lifeline, self.lifeline = os.pipe()
        self.status, status = os.pipe()
        self._rest = b""
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", GUARD, str(lifeline), str(status), f"{grace:g}", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd=cwd,
                pass_fds=(lifeline, status),
                start_new_session=True,  # a terminal's Ctrl-C reaches only us
            )
        except OSError as error:
            os.close(self.lifeline)
            os.close(self.status)
            where = f" in {cwd}" if cwd is not None and error.filename == cwd else ""
            raise StackError(f"cannot start {argv[0]}{where}: {error.strerror}") from error
        finally:
            os.close(lifeline)
            os.close(status)
        self.pid = self._popen.pid
        os.set_blocking(self.status, False)

    def first_word(self, name: str) -> dict[str, Any]:
        """Return what the guard says once the program runs; raises StackError when that cannot be started."""
        deadline = time.monotonic() + _GUARD_STARTS
        waiting = select.poll()
        waiting.register(self.status, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0 and self.status >= 0:
            waiting.poll(left * 1000)
            said = self.messages(most=1)
            if not said:
                continue
            if said[0]["event"] == "started":
                return said[0]
            if said[0]["event"] == "failed":
                raise StackError(f"cannot start {name}: {os.strerror(said[0]['errno'] or 0)}")
            break
        raise StackError(f"cannot start {name}: its guard did not start")

    def messages(self, *, most: int | None = None) -> list[dict[str, Any]]:
        """Return what the guard has said since last asked; `{"event": "lost"}` when it is gone."""
        lost = False
        while self.status >= 0 and not lost:
            try:
                raw = os.read(self.status, 65536)
            except BlockingIOError:
                break
            self._rest += raw
            lost = not raw
        *lines, last = self._rest.split(b"\n")
        kept = lines[most:] if most is not None else []
        self._rest = b"\n".join([*kept, last])
        said: list[dict[str, Any]] = [json.loads(line) for line in lines[:most]]
        if lost and not kept:
            os.close(self.status)
            self.status = -1
            said.append({"event": "lost"})
        return said

    def signal(self, signum: int) -> None:
        """Signal the guard, if it still is there."""
        if self._popen.poll() is None:  # not waited for, so its number is still its own
            self._popen.send_signal(signum)

    def close(self, timeout: float = 5.0) -> bool:
        """Let go: the guard then kills what still lives. False when it has not ended within `timeout` seconds."""
        for handle in (self.lifeline, self.status):
            if handle >= 0:
                os.close(handle)
        self.lifeline = self.status = -1
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True


@dataclass(slots=True)
class Child:
    """A service and its guard, as they were started. All ids are of the service's leader but `guard`.

    `log_from` is the log's size at the start, in bytes: what is behind it belongs to this start.
    """

    spec: ProcessSpec
    guard: identity.Identity
    leader: identity.Identity
    pgid: int
    sid: int
    log_from: int
    _guard: _Guard = field(repr=False)

    @property
    def status(self) -> int:
        """A descriptor that is readable when the guard has said something; -1 when it is gone."""
        return self._guard.status

    def messages(self) -> list[dict[str, Any]]:
        """Return what the guard has said since last asked; `{"event": "lost"}` when it is gone."""
        return self._guard.messages()

    def terminate(self) -> None:
        """Ask the guard to end the service gently: TERM, the grace, KILL."""
        self._guard.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Have the guard kill the whole tree now."""
        self._guard.signal(signal.SIGINT)

    def close(self, timeout: float = 5.0) -> bool:
        """Let go: the guard then kills what still lives. False when it has not ended within `timeout` seconds."""
        return self._guard.close(timeout)


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

    `run_id` is put into its environment, and every log line goes to `spec.log`. Raises StackError when the program
    cannot be started.
    """
    try:
        log = open_log(spec.log)
    except OSError as error:
        raise StackError(f"cannot write the log {spec.log}: {error.strerror}", remedy=f"rm {spec.log}") from error
    log_from = os.fstat(log).st_size
    env = {**spec.env, **({identity.RUN_MARK: run_id} if run_id else {})}
    try:
        guard = _Guard(spec.argv, env, spec.cwd, log, grace=spec.grace)
    finally:
        os.close(log)
    try:
        said = guard.first_word(f"{spec.name}: {spec.argv[0]}")
    except BaseException:
        guard.close()
        raise
    boot = identity.boot_id()
    return Child(
        spec,
        identity.Identity(guard.pid, identity.start_ticks(guard.pid) or 0, boot),
        identity.Identity(said["pid"], said["start_ticks"], boot),
        said["pgid"],
        said["sid"],
        log_from,
        guard,
    )


def tail(path: str, *, lines: int = 20, since: int = 0) -> tuple[str, ...]:
    """Return the last lines of a log, of what was written behind byte `since`; empty when it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ()
    with os.fdopen(handle, "rb") as log:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return ()
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


def detach(
    argv: Sequence[str], *, order: bytes, log: str, env: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program that outlives us, in a session of its own; return it and the read end of its events.

    It reads `order` from stdin, gets the descriptor of its event pipe as last argument, and appends what it prints to
    `log`. Raises StackError when it cannot be started.
    """
    try:
        output = open_log(log)
    except OSError as error:
        raise StackError(f"cannot write the log {log}: {error.strerror}", remedy=f"rm {log}") from error
    events, write = os.pipe()
    try:
        child = subprocess.Popen(
            [*argv, str(write)], stdin=subprocess.PIPE, stdout=output, stderr=output, env=dict(env), cwd="/",
            pass_fds=(write,), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        os.close(events)
        raise StackError(f"cannot start the supervisor: {error.strerror}", remedy="install stackctl again") from error
    finally:
        os.close(write)
        os.close(output)
    with contextlib.suppress(BrokenPipeError):  # it died at once: its events end, and its log says why
        assert child.stdin is not None  # noqa: S101 - PIPE above
        with child.stdin as stdin:
            stdin.write(order)
    return child, events


def become(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Replace this process by a program: terminal, signals and exit code are its own. Raises StackError when it cannot."""
    sys.stdout.flush()
    sys.stderr.flush()
    for each in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored stays so over exec
        signal.signal(each, signal.SIG_DFL)
    try:
        os.execve(argv[0], list(argv), dict(env))  # noqa: S606 - a list, no shell
    except OSError as error:
        raise StackError(f"cannot start {argv[0]}: {error.strerror}", remedy=f"is {argv[0]} a program?") from error


def attend(argv: Sequence[str], env: Mapping[str, str]) -> int:
    r"""Run a program in the foreground as its parent; return its exit code, 128 + n when signal n ended it.

    It shares our process group, so the terminal's Ctrl-C and Ctrl-\ reach it by themselves, and we outlive them; TERM
    and HUP are handed on; when it stops (Ctrl-Z) we stop too, so that the shell gets its terminal back. There is no
    deadline: it is the user's own session. Raises StackError when it cannot be started.
    """
    child: subprocess.Popen[bytes] | None = None

    def hand_on(signum: int, _frame: object) -> None:
        if child is not None and signum in {signal.SIGTERM, signal.SIGHUP}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signum)

    watched = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, hand_on) for each in watched}  # a handler, unlike SIG_IGN, is not inherited
    try:
        try:
            child = subprocess.Popen(list(argv), env=dict(env))
        except OSError as error:
            raise StackError(f"cannot start {argv[0]}: {error.strerror}", remedy=f"is {argv[0]} a program?") from error
        while True:
            _, status = os.waitpid(child.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                child.returncode = os.waitstatus_to_exitcode(status)
                break
            os.kill(os.getpid(), signal.SIGSTOP)
            os.kill(child.pid, signal.SIGCONT)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode
