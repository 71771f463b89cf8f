"""The only place that starts processes (the guard, which runs on its own, starts the service itself)."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
