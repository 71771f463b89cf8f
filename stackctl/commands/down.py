"""`stackctl down`: stop the stack; return when nothing of it is left. The configuration is not read."""

from __future__ import annotations

import os

from stackctl import names
from stackctl.errors import NotRunningError, StackError
from stackctl.output import Outcome
from stackctl.paths import StackPaths
from stackctl.stopping import stop


def run(name: str | None, config: str | None) -> Outcome:
    """Stop the stack. Raises NotRunningError (exit code 4) when there was none, StackError when something would not die."""
    paths = StackPaths(names.stack_name(name, config, os.environ))
    report = stop(paths)
    lines = [f"stackctl: {line}" for line in report.lines]
    if not report.clean:
        raise StackError(
            f"the stack `{paths.name}` could not be stopped wholly",
            remedy="stackctl down again; if it stays, reboot",
            evidence=report.lines,
        )
    if not report.was_running and not report.lines:
        raise NotRunningError(
            f"the stack `{paths.name}` is not running", remedy=f"stackctl up{names.option(paths.name)}"
        )
    end = (
        "was stopped, and another command has started it again"
        if report.again
        else "is down; nothing of it is left running"
    )
    lines.append(f"stackctl: the stack `{paths.name}` {end}")
    return Outcome(
        lines=lines, data={"name": paths.name, "was_running": report.was_running, "lines": list(report.lines)}
    )
