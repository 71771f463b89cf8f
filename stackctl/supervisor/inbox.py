"""What wakes the loop: signals, wishes of other threads, and the results of what threads were sent to find out."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class Note:
    """One message: `what` it is about, of which service, of which of its generations; `value` may be an exception."""

    what: str
    name: str
    generation: int
    value: object


class Inbox:
    """Notes come from any thread, signals to the main one; `handle` can be read while something waits."""

    def __init__(self) -> None:
        self._notes: deque[Note] = deque()
        self._signals: list[int] = []
        self._read, self._write = -1, -1

    @property
    def handle(self) -> int:
        """What to poll for input; -1 before the inbox is opened."""
        return self._read

    def put(self, note: Note) -> None:
        """Leave a note and wake the loop; also before it is open."""
        self._notes.append(note)
        with contextlib.suppress(OSError):
            os.write(self._write, b"\0")

    def notes(self) -> Iterator[Note]:
        """Take the notes out, oldest first, with those that come meanwhile."""
        while self._notes:
            yield self._notes.popleft()

    def signals(self) -> list[int]:
        """Take the signals out that came since last time; what woke the loop is read empty."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 4096):
                pass
        came, self._signals = self._signals, []
        return came

    def call(self, what: str, name: str, generation: int, call: Callable[[], object]) -> None:
        """Run something that may block beside the loop; its result, or its exception, becomes a note.

        Where no thread can be had the note comes at once: generation -1 of an "answer" says that nobody was asked.
        """

        def work() -> None:
            try:
                result = call()
            except Exception as error:  # noqa: BLE001 - handed to the loop
                result = error
            self.put(Note(what, name, generation, result))

        try:
            threading.Thread(target=work, daemon=True, name=f"{what} {name}").start()
        except RuntimeError as error:  # the machine is at its limit, which says nothing of a service
            self._notes.append(Note(what, name, -1 if what == "answer" else generation, error))

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Have notes and signals wake whoever polls; only a main thread is sent signals."""
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        before: dict[int, object] = {}
        wakeup = -1
        if threading.current_thread() is threading.main_thread():
            wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            for signum in _STOP:
                if signum == signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN:
                    continue  # detached, or below nohup
                before[signum] = signal.signal(signum, lambda signum, _frame: self._signals.append(signum))
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)  # type: ignore[arg-type]
            if before:
                signal.set_wakeup_fd(wakeup)
            write, self._write = self._write, -1
            os.close(write)
            os.close(self._read)
