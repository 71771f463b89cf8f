"""A change done to the files, in a way that can be undone."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stackctl import removal, trust
from stackctl.errors import StackError
from stackctl.hub import again

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackctl.hub.transfer import Progress
    from stackctl.repair.change import Change, Edit


@dataclass(slots=True)
class Applied:
    """What was done. `backups` are copies of the user's own files, as path and copy, kept beside them."""

    change: Change
    backups: list[tuple[str, str]] = field(default_factory=list)
    _undo: list[Callable[[], None]] = field(default_factory=list)
    _rubbish: list[str] = field(default_factory=list)

    def undo(self) -> None:
        """Put every file back as it was; a copy made before is not needed any more."""
        for step in reversed(self._undo):
            step()
        self._undo.clear()
        for _, copy in self.backups:
            _remove(copy)
        self.backups.clear()

    def keep(self) -> None:
        """It has proved good: what was only held for going back is removed."""
        for path in self._rubbish:
            _remove(path)


def apply(
    change: Change, run: Callable[[Sequence[str]], None], on_progress: Callable[[Progress], None] = lambda _: None
) -> Applied:
    """Do all of it; `run` does a command of stackctl's own and raises StackError where that fails.

    `on_progress` hears of downloads. What fails half-way is undone before the error goes on (StackError, OSError); only
    what was removed stays so.
    """
    done = Applied(change)
    try:
        for edit in change.edits:
            _edit(edit, done)
        for each in change.fetches:
            for path in again.fetch(each, on_progress):
                done._undo.append(lambda path=path: _remove(path))  # type: ignore[misc]  # noqa: SLF001
        for verb, name, value in change.variables:
            _variable(name, value if verb == "set" else None, done)
        for path, mode in change.modes:
            before = stat.S_IMODE(os.lstat(path).st_mode)
            os.chmod(path, mode, follow_symlinks=os.chmod not in os.supports_follow_symlinks)
            done._undo.append(lambda path=path, before=before: os.chmod(path, before))  # type: ignore[misc]  # noqa: SLF001
        _removed(change)
        for command in change.commands:
            run(command)
    except BaseException:
        done.undo()
        raise
    return done


def _removed(change: Change) -> None:
    if left := removal.remove(change.removals):
        raise StackError("not everything could be removed", remedy="stop what uses it, then again", evidence=(*left,))


def _variable(name: str, value: str | None, done: Applied) -> None:
    """In the environment of this process, so that the checks see what the shell would have."""
    before = os.environ.get(name)
    _export(name, value)
    done._undo.append(lambda: _export(name, before))  # noqa: SLF001


def _export(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _edit(edit: Edit, done: Applied) -> None:
    path = os.path.realpath(edit.path) if edit.theirs else edit.path  # a dotfile is often a link into a repository
    if edit.text is None:
        aside = _free(f"{path}.broken")
        os.rename(path, aside)
        done._undo.append(lambda: _back(aside, path))  # noqa: SLF001
        if edit.spare or (os.path.isdir(aside) and not os.path.islink(aside)):
            done._rubbish.append(aside)  # noqa: SLF001
        return
    there = os.path.lexists(path)
    copy = _free(f"{path}.before-stackctl" if edit.theirs else f"{path}.before")
    if there:
        shutil.copy2(path, copy)
    trusted = there and _trusted(path)
    try:
        _write(path, edit.text, newline=_line_end(path))
    except BaseException:
        if there:
            _remove(copy)
        raise
    if trusted:
        trust.add(path)
    if not there:
        done._undo.append(lambda: os.unlink(path))  # noqa: SLF001
        return
    done._undo.append(lambda: _back(copy, path))  # noqa: SLF001
    if edit.theirs:
        done.backups.append((path, copy))
    else:
        done._rubbish.append(copy)  # noqa: SLF001


def _trusted(path: str) -> bool:
    try:
        trust.content(path, named=False)
    except StackError:
        return False
    return os.path.basename(path) == "stack.yaml"


def _line_end(path: str) -> str:
    """How the lines of a file end: in the diff they are alike, and none is changed that is not shown."""
    try:
        with open(path, "rb") as stream:
            first = stream.readline(1 << 20)
    except OSError:  # there is none yet
        return "\n"
    return "\r\n" if first.endswith(b"\r\n") else "\n"


def _write(path: str, text: str, *, newline: str) -> None:
    """By rename, with the permissions that the file had (0600 for a new one)."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fresh = f"{path}.{os.getpid()}.tmp"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline=newline) as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if os.path.lexists(path):
            shutil.copymode(path, fresh)
        os.replace(fresh, path)
    except BaseException:
        _remove(fresh)
        raise


def _back(copy: str, path: str) -> None:
    if not os.path.lexists(copy):
        return
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    os.replace(copy, path)


def _free(path: str) -> str:
    """A name that nothing has yet."""
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = f"{path}-{number}"
    return found


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)
