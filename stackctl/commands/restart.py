"""`stackctl restart`: stop the stack and start it again, in the background, on what the configuration says now."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from stackctl import control, names, output, planning, runstate
from stackctl.checks import preflight, preflight_model
from stackctl.commands import provision, up
from stackctl.errors import ConfigError, NotRunningError, StackError
from stackctl.model import State
from stackctl.output import Outcome
from stackctl.paths import StackPaths
from stackctl.stopping import stop

if TYPE_CHECKING:
    from stackctl.config import Flags
    from stackctl.runstate import ServiceRecord


def run(flags: Flags, *, yes: bool, as_json: bool) -> Outcome:
    """Stop, then start. All that can be checked while the stack runs is checked first: a mistake leaves it alone.

    Raises NotRunningError (exit code 4) when nothing runs, else as `up` does.
    """
    prepared = planning.prepare(flags)
    paths = prepared.paths
    if runstate.holder(paths) is None:  # not `running`: also one that another version of stackctl runs
        raise NotRunningError(
            f"the stack `{paths.name}` is not running", remedy=f"stackctl up{names.option(paths.name)}"
        )
    checks = (*preflight.TOOLS, preflight_model.files, preflight.disk, preflight.provider_keys)
    provision.fail_on(preflight.run(prepared, checks))
    report = stop(paths)
    for line in report.lines:
        output.note(f"stackctl: {line}")
    if not report.clean:
        raise StackError(
            f"the stack `{paths.name}` could not be stopped wholly", remedy="stackctl down", evidence=report.lines
        )
    return up.run(flags, detach=True, dry_run=False, yes=yes, as_json=as_json)


_LONGEST = 3 * 3600.0  # seconds; the supervisor gives a start up long before
_LOOK = 0.2


def one(service: str, name: str | None, config: str | None) -> Outcome:
    """Restart one service of a running stack, as it was started; return when it is ready. No configuration is read.

    Raises NotRunningError (exit code 4) when the stack does not run, StackError when the service does not come back.
    """
    paths = StackPaths(names.stack_name(name, config, os.environ))
    logs = f"stackctl logs {service}{names.option(paths.name)}"
    began = time.monotonic()
    before = _record(paths, service)
    control.ask(paths, do="restart", service=service)
    while time.monotonic() - began < _LONGEST:
        time.sleep(_LOOK)
        now = _record(paths, service)
        if now.restarts > before.restarts and now.state is State.READY:
            seconds = time.monotonic() - began
            return Outcome(
                lines=[f"stackctl: {service} runs again, ready after {seconds:.1f} s"],
                data={"name": paths.name, "service": service, "pid": now.pid, "seconds": round(seconds, 1)},
            )
        if now.state is State.FAILED and now.since > before.since:
            raise StackError(f"{service} did not come back: {now.detail}", remedy=logs)
    raise StackError(f"{service} is not ready after {_LONGEST:g} s", remedy=logs)


def _record(paths: StackPaths, service: str) -> ServiceRecord:
    state = runstate.recorded(paths)
    if state is None:
        raise NotRunningError(
            f"the stack `{paths.name}` is not running", remedy=f"stackctl up{names.option(paths.name)}"
        )
    found = next((each for each in state.services if each.name == service), None)
    if found is None:
        known = " and ".join(each.name for each in state.services)
        raise ConfigError(
            f"the stack `{paths.name}` has no service {service!r}; it has {known}",
            remedy=f"stackctl status{names.option(paths.name)}",
        )
    return found
