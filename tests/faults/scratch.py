"""The directory of one run of the corpus: nothing that a run started outlives it, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class LateError(RuntimeError):
    """One fault took too long; no kind of OSError, which waiting for a server passes over."""


@contextlib.contextmanager
def scratch(build: Path, lane: str = "") -> Iterator[Path]:
    """A new directory. Of a lane it is the only one in this checkout, and what an earlier run left that was killed is
    ended first.
    """
    with contextlib.ExitStack() as ends:
        place = Path(tempfile.mkdtemp(prefix="faults")).resolve()
        ends.callback(_end, place)
        if lane:
            ends.enter_context(_alone(build, lane, place))
        for each in ENDS:
            signal.signal(each, _ended)
        yield place


@contextlib.contextmanager
def _alone(build: Path, lane: str, place: Path) -> Iterator[None]:
    build.mkdir(exist_ok=True)
    with (build / f"faults-{lane}.lock").open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another run of the corpus is under way in this checkout")
        held.seek(0)
        if earlier := held.read().strip():
            _end(Path(earlier))
        _note(held, str(place))
        try:
            yield
        finally:
            _end(place)
            _note(held, "")


def _note(held: Any, text: str) -> None:
    held.seek(0)
    held.truncate()
    held.write(text)
    held.flush()


def _ended(number: int, _: object) -> None:
    """A signal ends the run in order; a second one does not cut the tidying short."""
    for each in ENDS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def _end(place: Path) -> None:
    """Whatever runs out of `place` is killed, and the directory removed."""
    if not place.is_dir():
        return
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            links = [os.readlink(f"/proc/{process.pid}/{each}") for each in ("cwd", "fd/1")]
            if process.pid != os.getpid() and any(
                f"{place}/" in each for each in (*process.environ().values(), *links)
            ):
                process.kill()
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise LateError in here when it takes longer: one fault must not take the whole run with it."""

    def late(*_: object) -> None:
        raise LateError(f"not done after {seconds:.0f} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
