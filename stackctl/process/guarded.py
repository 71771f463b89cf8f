"""A program below its guard (`guard.py`), which starts it and kills its whole tree."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import stackctl
from stackctl.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(stackctl.__file__)), "guard.py")
_STARTS = 20.0  # seconds in which the guard must have started the program; 0.02 is usual


class Guard:
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
                [sys.executable, "-I", "-S", PROGRAM, str(lifeline), str(status), f"{grace:g}", *argv],
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
        deadline = time.monotonic() + _STARTS
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
