"""Programs that are run to their end: installers, compilers, what tells its version."""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stackctl.errors import StackError
from stackctl.process.guarded import Guard

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
            guard = Guard(argv, dict(os.environ) if env is None else dict(env), cwd, written, grace=2.0)
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
