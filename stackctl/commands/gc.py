"""`stackctl gc`: show and remove what earlier versions, dead installs and stacks that no longer run have left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from stackctl import amounts, belongings, files, output, paths, removal, runstate
from stackctl.errors import ConfigError, StackError
from stackctl.output import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackctl.belongings import Belonging


def run(*, dry_run: bool, yes: bool) -> Outcome:
    """Remove what nothing uses, after asking. Raises ConfigError without a terminal or `yes`."""
    for directory in (paths.home(), paths.envs_dir()):
        if os.path.lexists(directory):
            files.check_private_dir(directory)
    told = [] if dry_run else [line for stack in belongings.stacks() for line in runstate.reconcile(stack)]
    things = removal.garbage(belongings.now())
    if not things:
        return Outcome(lines=[*told, "stackctl: nothing to remove"], data=as_data((), ()))
    left = _ask_and_remove(things, "Remove these?", dry_run=dry_run, yes=yes)
    return Outcome(lines=[*told, *removed_lines(things, left)], data=as_data(things, left))


def _ask_and_remove(things: Sequence[Belonging], question: str, *, dry_run: bool, yes: bool) -> list[str] | None:
    """What could not be removed; None when nothing was to be removed."""
    if not agreed(things, question, dry_run=dry_run, yes=yes):
        return None
    return removal.remove(things)


def agreed(things: Sequence[Belonging], question: str, *, dry_run: bool, yes: bool) -> bool:
    """Show the list and ask. Raises ConfigError when there is nobody to ask: removing is not assumed."""
    for line in removal.lines(things):
        output.note(line)
    if dry_run or yes:
        return not dry_run
    if not output.has_terminal():
        raise ConfigError("there is no terminal to ask on; nothing was removed", remedy="add --yes, or --dry-run")
    return output.confirm(question)


def removed_lines(things: Sequence[Belonging], left: Sequence[str] | None) -> list[str]:
    """What was done. Raises StackError when something could not be removed."""
    if left is None:
        return ["stackctl: nothing was removed"]
    if left:
        raise StackError("not everything could be removed", remedy="stop what uses it, then again", evidence=(*left,))
    return [f"stackctl: removed {amounts.of_bytes(sum(each.size for each in things))}"]


def as_data(things: Sequence[Belonging], left: Sequence[str] | None) -> dict[str, Any]:
    """For --json: `listed` is what was shown, `removed` says whether it was removed; sizes in bytes."""
    listed = [{"what": each.what, "path": each.path, "size": each.size, "stack": each.stack} for each in things]
    return {"listed": listed, "removed": left is not None, "left": list(left or ())}
