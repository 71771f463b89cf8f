"""`stackctl key rotate`: a new client key. The gateway reads its key when it starts, so a running stack is restarted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import keys, keys_file, names, output, planning, runstate
from stackctl.commands import restart as restarting
from stackctl.errors import NotRunningError, StackError
from stackctl.output import Outcome
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from stackctl.config import Flags


def rotate(flags: Flags, *, restart: bool, as_json: bool) -> Outcome:
    """Make a new client key. A stack that runs is restarted, when that is wished; else nothing is changed.

    Raises NotRunningError (exit code 4) when the stack never had a key, StackError when it runs and may not be
    restarted, or would come up again with another plan.
    """
    paths = StackPaths(names.stack_name(flags.name, flags.config, os.environ))
    if keys_file.read(paths) is None:
        raise NotRunningError(f"the stack `{paths.name}` has no key yet", remedy="stackctl up makes one")
    lock = runstate.Lock(paths)
    if lock.share():
        try:
            keys.rotate(paths)
        finally:
            lock.release()
        return Outcome(lines=_told(paths.name), data={"name": paths.name, "restarted": False})
    if not _may_restart(paths, asked=restart):
        raise StackError(
            f"the stack `{paths.name}` runs, and its gateway takes a new key only when it is restarted;"
            " nothing was changed",
            remedy=f"stackctl key rotate --restart{_option(paths.name)}   (it does the stackctl restart that is needed)",
        )
    _same_plan(flags, paths)
    keys.rotate(paths)
    outcome = restarting.run(flags, yes=True, as_json=as_json)
    for line in _told(paths.name):
        output.note(line)
    return outcome


def _may_restart(paths: StackPaths, *, asked: bool) -> bool:
    if asked:
        return True
    return output.has_terminal() and output.ask(
        f"The stack `{paths.name}` runs and must be restarted to take a new key; clients wait meanwhile. Go on?",
        assume=False,
    )


def _same_plan(flags: Flags, paths: StackPaths) -> None:
    """Raise StackError when a restart would run something else: a new key is all that was asked for."""
    state = runstate.recorded(paths)
    if state is not None and state.plan_digest and planning.prepare(flags).plan.digest != state.plan_digest:
        raise StackError(
            f"the stack `{paths.name}` would come up again with another plan than the one it runs; nothing was changed",
            remedy="give the flags that it was started with (-c, --model, --gateway), or  stackctl restart  first",
        )


def _told(name: str) -> list[str]:
    return [
        f"stackctl: the stack `{name}` has a new client key; the old one is refused from now on",
        f'          in shells that are open:  eval "$(stackctl env{_option(name)})"',
    ]


def _option(name: str) -> str:
    return "" if name == names.DEFAULT_NAME else f" --name {name}"
