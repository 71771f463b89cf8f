"""Make a directory whole or not at all, once, however many ask for it at the same time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING

from stackctl.errors import StackError
from stackctl.files import private_dir
from stackctl.toolchain import marker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WAIT = 3600.0  # seconds: as long as another run may install on a slow line
_LOOK = 0.2
_PARTIAL = ".partial"


def make_directory(
    target: str, lock: str, build: Callable[[str], dict[str, object]], on_progress: Callable[[str], None]
) -> None:
    """Have `build` fill a new directory and give it the name `target`, marked with `lock`; no-op when that is there.

    `build` gets the temporary directory (beside the target, so that renaming is one step of the file system) and
    returns facts for the marker. What an earlier run left half-made, also one that was killed, is removed first.
    Raises what `build` raises, and StackError when another run holds the lock for too long.
    """
    parent = private_dir(os.path.dirname(target))
    begin = f".{os.path.basename(target)}."
    with locked(f"{target}.lock", on_progress):
        if marker.is_complete(target, lock):
            return
        for name in os.listdir(parent):
            if name.startswith(begin) and name.endswith(_PARTIAL):
                _remove(os.path.join(parent, name))
        # A new name each time: the installer of a run that was killed may still be writing to the old one.
        temporary = tempfile.mkdtemp(prefix=begin, suffix=_PARTIAL, dir=parent)
        try:
            if os.path.lexists(target):  # named but not whole: renamed first, for removing can be killed half-way
                os.rename(target, os.path.join(parent, f"{begin}{os.getpid()}{_PARTIAL}"))
            facts = build(temporary)
            marker.write(temporary, lock, **facts)
            os.rename(temporary, target)
        except BaseException:  # Ctrl-C too: gigabytes should not stay behind
            _remove(temporary)
            raise
        _sync(parent)


@contextlib.contextmanager
def locked(path: str, on_progress: Callable[[str], None]) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting at most an hour; the system lets go of it when we die."""
    deadline = time.monotonic() + _WAIT
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    on_progress("Waiting: another stackctl is at the same")
                    told = True
                if time.monotonic() > deadline:
                    raise StackError(
                        f"another stackctl has held {path} for an hour", remedy=f"see who: fuser -v {path}"
                    ) from None
                time.sleep(_LOOK)
        yield
    finally:
        os.close(handle)


def _remove(path: str) -> None:
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
    else:
        shutil.rmtree(path, ignore_errors=True)  # what is written to meanwhile is met by the next run


def _sync(directory: str) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
