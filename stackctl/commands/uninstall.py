"""`stackctl uninstall`: stop everything, show what stackctl made with sizes, ask, remove."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl import amounts, belongings, files, output, paths, removal
from stackctl.commands import gc, service
from stackctl.errors import StackError
from stackctl.output import Outcome
from stackctl.stopping import stop

if TYPE_CHECKING:
    from stackctl.belongings import Belonging


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for; `models` and `settings` go only when they are named."""

    models: bool
    settings: bool
    dry_run: bool
    yes: bool


def run(request: Request) -> Outcome:
    """Remove what stackctl made, and nothing else.

    Raises PreflightError when a directory is not safely ours, ConfigError without a terminal or `yes`, StackError
    when a stack does not stop or something could not be removed.
    """
    for directory in (paths.home(), paths.envs_dir()):
        if os.path.lexists(directory):
            files.check_private_dir(directory)
    things = _everything(request)
    if not things:
        return Outcome(
            lines=["stackctl: there is nothing of stackctl to remove", *_kept(request)], data=gc.as_data((), ())
        )
    if not gc.agreed(things, "Stop every stack and remove all this?", dry_run=request.dry_run, yes=request.yes):
        return Outcome(lines=[*gc.removed_lines(things, None), *_kept(request)], data=gc.as_data(things, None))
    for unit in belongings.services():  # first: systemd would start a stack again
        service.drop(unit.path)
    _stop_all()
    things = _everything(request)  # again: stopping removes some, and may have written the last lines of a log
    kept = _kept(request)  # before the record of what was fetched is removed
    left = removal.remove(things)
    stacks = os.path.join(paths.home(), "stacks")
    removal.remove_empty(
        *(stack.root for stack in belongings.stacks()),
        *(stacks, paths.cache_dir(), paths.models_dir(), paths.envs_dir(), paths.home()),
    )
    lines = gc.removed_lines(things, left)
    return Outcome(lines=[*lines, *kept, *_strangers()], data=gc.as_data(things, left))


def _everything(request: Request) -> list[Belonging]:
    """All of it, in the order in which it can go: the records last, so that a run that is cut off can be repeated."""
    return [
        *belongings.services(),
        *belongings.environments(),
        *belongings.halves(),
        *belongings.locks(),
        *(each for stack in belongings.stacks() for each in belongings.of_stack(stack)),
        *belongings.caches(),
        *(belongings.hub_models() if request.models else ()),
        *(belongings.configuration() if request.settings else ()),
        *(each for each in belongings.rest() if request.models or not _names_models(each)),
    ]


def _names_models(each: Belonging) -> bool:
    """Whether this is the record of models that stay: without it they could not be told from the user's own."""
    return each.path == paths.models_file() and bool(belongings.hub_models())


def _stop_all() -> None:
    for stack in belongings.stacks():
        report = stop(stack)
        for line in report.lines:
            output.note(f"stackctl: {line}")
        if not report.clean:
            raise StackError(
                f"the stack `{stack.name}` could not be stopped wholly; nothing was removed",
                remedy="stackctl down, then again; if it stays, reboot",
                evidence=report.lines,
            )


def _kept(request: Request) -> list[str]:
    kept = [] if request.models else [(each, "--models") for each in belongings.hub_models()]
    kept += [] if request.settings else [(each, "--settings") for each in belongings.configuration()]
    return [
        f"stackctl: left {each.what} ({amounts.of_bytes(each.size)}) at {each.path}: {flag} removes it"
        for each, flag in kept
        if each.what != "lock"
    ]


def _strangers() -> list[str]:
    """What is still in our directories: not made by stackctl, so not removed."""
    return [
        f"stackctl: left {each}, which stackctl did not make or still needs"
        for each in belongings.leftovers()
        if each != paths.models_file()
    ]
