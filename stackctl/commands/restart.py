"""`stackctl restart`: stop the stack and start it again, in the background, on what the configuration says now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl import names, output, planning, runstate
from stackctl.checks import preflight
from stackctl.commands import up
from stackctl.errors import NotRunningError, StackError
from stackctl.stopping import stop

if TYPE_CHECKING:
    from stackctl.config import Flags
    from stackctl.output import Outcome


def run(flags: Flags, *, yes: bool, as_json: bool) -> Outcome:
    """Stop, then start. All that can be checked while the stack runs is checked first: a mistake leaves it alone.

    Raises NotRunningError (exit code 4) when nothing runs, else as `up` does.
    """
    prepared = planning.prepare(flags)
    paths = prepared.paths
    if runstate.running(paths) is None:
        raise NotRunningError(
            f"the stack `{paths.name}` is not running", remedy=f"stackctl up{names.option(paths.name)}"
        )
    up.fail_on(preflight.run(prepared, (*preflight.TOOLS, preflight.model, preflight.disk)))
    report = stop(paths)
    for line in report.lines:
        output.note(f"stackctl: {line}")
    if not report.clean:
        raise StackError(
            f"the stack `{paths.name}` could not be stopped wholly", remedy="stackctl down", evidence=report.lines
        )
    return up.run(flags, detach=True, dry_run=False, yes=yes, as_json=as_json)
