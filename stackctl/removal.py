"""Removes what stackctl made: `belongings` says what that is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

from stackctl import amounts, belongings, runstate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stackctl.belongings import Belonging

_WHOLE = {  # directories that count only as long as they are whole
    "environment",
    "embedded model",
    "chat templates",
    belongings.PREVIOUS,
}


def garbage(now: float) -> list[Belonging]:
    """What can go, at a unix time: nothing that a stack or an install uses."""
    unused = [each for each in belongings.outdated() if not belongings.users(each.path)]
    stacks = belongings.stacks()
    dead = [each for each in belongings.halves() if not at_work(each)]
    if left := belongings.trial_left():
        dead.append(belongings.of("trial of an upgrade", left))
    found = [*unused, *dead, *(each for stack in stacks for each in belongings.old_of_stack(stack, now))]
    if not any(runstate.is_locked(stack) for stack in stacks):
        found += belongings.stale_caches(now)
    return found


def remove(things: Sequence[Belonging]) -> list[str]:
    """Remove things; say in words which were left, and why. A missing one counts as removed."""
    return [f"{each.path}: {why}" for each in things if (why := _remove(each))]


def _remove(each: Belonging) -> str:
    if not os.path.lexists(each.path):
        return ""
    if each.what in _WHOLE and (using := belongings.users(each.path)):
        return f"in use by {', '.join(map(str, using[:5]))}"
    with _held(each.lock) as free:
        if not free:
            return "another stackctl is at work on it"
        try:
            if belongings.is_dir(each.path):
                # Renamed first: it is gone as a whole, or half-made to everybody, whatever stops us.
                shutil.rmtree(_hidden(each))
            else:
                os.unlink(each.path)
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _hidden(each: Belonging) -> str:
    if each.what not in _WHOLE:
        return each.path
    directory, name = os.path.split(each.path)
    aside = os.path.join(directory, f".{name}.{os.getpid()}{belongings.PARTIAL}")
    os.rename(each.path, aside)
    return aside


def at_work(each: Belonging) -> bool:
    """Whether another stackctl is making it just now."""
    with _held(each.lock) as free:
        return not free


@contextlib.contextmanager
def _held(path: str) -> Iterator[bool]:
    """Hold the lock at `path`, if there is one; False when somebody else does."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC) if path else -1
    except OSError:
        handle = -1
    try:
        if handle >= 0:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except OSError:
        free = False
    try:
        yield free
    finally:
        if handle >= 0:
            os.close(handle)


def remove_empty(*directories: str) -> None:
    """Remove directories that nothing is left in."""
    for each in directories:
        with contextlib.suppress(OSError):
            os.rmdir(each)


def lines(things: Sequence[Belonging]) -> list[str]:
    """The list for people, with its sum."""
    width = max((len(each.what) for each in things), default=0)
    rows = [f"  {each.what:<{width}}  {amounts.of_bytes(each.size):>9}  {each.path}" for each in things]
    return [*rows, f"  {'together':<{width}}  {amounts.of_bytes(sum(each.size for each in things)):>9}"]
