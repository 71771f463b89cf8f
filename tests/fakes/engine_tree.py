"""The scripted engine's processes: EngineCore and Worker, in the leader's group and session, that rewrite their argv."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time


def _rename(title: str) -> None:
    """Overwrite argv and the environment in place, as setproctitle does for vLLM's children."""
    with open("/proc/self/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[48])  # arg_start .. env_end; fields counts from `state`
    raw = title.encode()[: end - start - 1]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, raw, len(raw))
    ctypes.CDLL(None).prctl(15, raw[:15], 0, 0, 0)


def _serve_pipe(title: str, asks: int, answers: int, onward: Tree | None, ignore_term: bool) -> None:
    """A child's life: each byte asked is handed on, then answered. A dead leader does not end EngineCore (measured); a
    dead EngineCore ends its Worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def leave(_signum: int, _frame: object) -> None:
        if onward is not None:
            os.kill(onward.pid, signal.SIGTERM)
            os.waitpid(onward.pid, 0)
        os._exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if ignore_term else leave)
    with contextlib.suppress(OSError, AttributeError, ValueError):  # no /proc: the old name stays
        _rename(title)
    with contextlib.suppress(BrokenPipeError):
        os.write(answers, b".")  # from here on it reacts to signals as a child of its kind
    while True:
        asked = os.read(asks, 1)
        while asked == b"!":  # a deadlock: TERM is still obeyed
            time.sleep(3600)
        if not asked:
            while onward is not None or ignore_term:  # it stays, and holds its memory
                time.sleep(3600)
            os._exit(0)
        if onward is not None:
            onward.step()
        with contextlib.suppress(BrokenPipeError):
            os.write(answers, b".")


class Tree:
    """One child process that every token passes through; `nested` gives it a child of its own (EngineCore -> Worker)."""

    def __init__(self, title: str, nested: str | None, ignore_term: bool, not_theirs: tuple[int, ...]) -> None:
        ask_read, self._ask = os.pipe()
        self._answer, answer_write = os.pipe()
        self._lock = threading.Lock()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            for each in (self._ask, self._answer, *not_theirs):  # a child must not hold the port
                os.close(each)
            onward = Tree(nested, None, ignore_term, ()) if nested else None
            _serve_pipe(title, ask_read, answer_write, onward, ignore_term)
        os.close(ask_read)
        os.close(answer_write)
        os.read(self._answer, 1)

    def deadlock(self) -> None:
        """Let the child hang for ever, without being stopped."""
        os.write(self._ask, b"!")

    def step(self) -> None:
        """Let the model make one token. Waits for as long as the child is frozen; BrokenPipeError when it is dead."""
        with self._lock:
            os.write(self._ask, b".")
            if not os.read(self._answer, 1):
                raise BrokenPipeError
