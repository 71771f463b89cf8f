"""What a repair would change, as data: nothing is done here."""

from __future__ import annotations

import difflib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stackctl import redact

if TYPE_CHECKING:
    from stackctl import shell
    from stackctl.belongings import Belonging
    from stackctl.hub.again import Again

_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")  # in the name of a variable whose value is one


@dataclass(frozen=True, slots=True)
class Edit:
    """One file written anew with `text`, or moved aside where that is None. `theirs`: it is the user's, not ours.

    `spare`: what is moved aside is of no use to anybody, and is removed when the repair has proved good. `secret`: the
    text is a key, and is not shown.
    """

    path: str
    text: str | None = field(repr=False)
    theirs: bool = False
    spare: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """All of one repair. `modes` are permissions by path; `fetches` are files of models that the hub has; `commands` are
    stackctl's own (without the options of the one that runs), in order after the files.

    `variables` are those of the shell that asks, which only evaluates what is printed for it.
    `removals` are things that stackctl made and nothing uses; nothing brings them back.
    `commands` may hold `("install", KIND)`, which is no command of the command line: a managed environment made anew.
    """

    says: str
    edits: tuple[Edit, ...] = ()
    modes: tuple[tuple[str, int], ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    fetches: tuple[Again, ...] = ()
    variables: tuple[shell.Change, ...] = ()
    removals: tuple[Belonging, ...] = ()

    def __add__(self, other: Change) -> Change:
        """Both, this one first; a file that both write is written once, as the other leaves it."""
        again = {each.path for each in other.edits if each.text is not None}
        edits = tuple(each for each in self.edits if each.text is None or each.path not in again)
        commands = [*self.commands]
        commands += [each for each in other.commands if each not in commands]
        return Change(
            "; ".join(filter(None, (self.says, other.says))),
            edits + other.edits,
            self.modes + other.modes,
            tuple(commands),
            self.fetches + other.fetches,
            self.variables + other.variables,
            self.removals + other.removals,
        )

    def __bool__(self) -> bool:
        """Whether it would do anything."""
        return bool(self.edits or self.modes or self.commands or self.fetches or self.variables or self.removals)


def shown(change: Change) -> list[str]:
    """The change for people: a unified diff of each file without its secrets, what is moved, and what is run."""
    lines: list[str] = []
    for each in change.edits:
        if each.text is None:
            lines.append(f"move aside  {each.path}")
            continue
        if each.secret:
            lines.append(f"write       {each.path}")
            continue
        before = current(each.path)
        clean = redact.cleaner(redact.secrets_written(before) | redact.secrets_written(each.text))
        diff = difflib.unified_diff(
            before.splitlines(), each.text.splitlines(), each.path, f"{each.path} (repaired)", lineterm="", n=2
        )
        lines += map(clean, diff)
    for again in change.fetches:
        at = again.origin
        lines += [f"download    {each.name}  ({each.size:,} bytes)" for each in again.files]
        lines.append(f"      from  {again.source} at revision {at.commit}")
        lines.append(f"      into  {at.directory}")
    for verb, name, value in change.variables:
        if name in os.environ:
            lines.append(f"-{_variable(name, os.environ[name])}")
        if verb == "set":
            lines.append(f"+{_variable(name, value)}")
    for path, mode in change.modes:
        lines.append(f"chmod {mode:o} {path}   (now {stat.S_IMODE(os.lstat(path).st_mode):o})")
    lines += [
        f"remove      {each.path}  (what nothing uses: {each.what}, {each.size:,} bytes)" for each in change.removals
    ]
    lines += [
        f"install the {command[1]}'s environment anew" if command[0] == "install" else f"stackctl {' '.join(command)}"
        for command in change.commands
    ]
    return lines


def _variable(name: str, value: str) -> str:
    """`NAME=VALUE` for people: no secret, and nothing that a terminal would obey."""
    if any(word in name.replace("TOKENS", "") for word in _SECRET):
        return f"{name}={redact.HIDDEN}"
    plain = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in value)
    return f"{name}={redact.cleaner(())(plain)}"


def current(path: str) -> str:
    """The text of a file now; empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except (FileNotFoundError, IsADirectoryError):
        return ""
