"""`stackctl status`: what runs, from the recorded state; the configuration is not read."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stackctl import amounts, identity, names, output, runstate, vitals
from stackctl.errors import NotRunningError, StackError
from stackctl.model import ServiceKind, State
from stackctl.output import Outcome
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.runstate import ServiceRecord, StackState

_AGAIN = 1.0  # seconds between two looks of --watch
_HEAD = ("SERVICE", "STATE", "SINCE", "PID", "PORT", "MEMORY", "RESTARTS", "MODEL")


def run(name: str | None, config: str | None) -> Outcome:
    """Show the stack's services. Raises NotRunningError (exit code 4) when no supervisor lives."""
    paths = StackPaths(names.stack_name(name, config, os.environ))
    state = runstate.recorded(paths)
    if state is None:
        for line in runstate.reconcile(paths):
            raise NotRunningError(
                f"the stack `{paths.name}` is not running; its supervisor had died: {line}",
                remedy=f"stackctl up{names.option(paths.name)}",
            )
        raise NotRunningError(
            f"the stack `{paths.name}` is not running", remedy=f"stackctl up{names.option(paths.name)}"
        )
    return Outcome(
        lines=[_title(state), *_routes(state), *([state.notice] if state.notice else []), *_unwell(state)],
        table=(_HEAD, [_row(each) for each in state.services]),
        data=as_data(state),
    )


def watch(look: Callable[[], Outcome]) -> Outcome:
    """Show what `look` sees again and again, on a cleared terminal, until Ctrl-C or until there is nothing to see."""
    while True:
        seen = look()
        output.clear()
        output.show(seen)
        time.sleep(_AGAIN)


def run_all() -> Outcome:
    """Show every stack of this user that runs. Raises NotRunningError (exit code 4) when none does."""
    from stackctl import belongings

    found, notes = [], []
    for paths in belongings.stacks():
        try:
            state = runstate.running(paths)
        except StackError as error:  # another version's: the others are shown all the same
            notes.append(f"stackctl: {error.message} (try: {error.remedy})")
            continue
        if state is not None:
            found.append(state)
    if not found and not notes:
        raise NotRunningError("no stack is running", remedy="stackctl up")
    rows = [(state.name, *_row(each)) for state in found for each in state.services]
    return Outcome(
        lines=[*notes, *map(_title, found)],
        table=(("STACK", *_HEAD), rows),
        data={"stacks": [as_data(each) for each in found], "notes": notes},
    )


def as_data(state: StackState) -> dict[str, Any]:
    """The contract of `status --json` (more keys may come, these stay)."""
    services = [
        {
            "name": each.name,
            "kind": each.kind,
            "state": each.state,
            "pid": each.pid,
            "port": each.port,
            "model": each.model,
            "window": each.window or _window(state, each),
            "memory": _memory(each),
            "detail": each.detail,
            "restarts": each.restarts,
            "since": each.since,
            "log": each.log,
        }
        for each in state.services
    ]
    return {
        "name": state.name,
        "state": state.state,
        "supervisor": {"pid": state.supervisor.pid if state.supervisor else None},
        "gateway_url": state.gateway_url,
        "verified_at": state.verified_at,
        "notice": state.notice,
        "services": services,
        "routes": [asdict(each) for each in state.client.routes] if state.client else [],
    }


def _window(state: StackState, each: ServiceRecord) -> int | None:
    """The window that a service was proved with, in tokens: an engine of several has its own."""
    if state.client is None:
        return None
    own = {route.engine: route.window for route in state.client.routes}
    others = [service for service in state.services if service.kind is ServiceKind.ENGINE][1:]
    return own.get(each.name, None if each in others else state.client.window)


def _title(state: StackState) -> str:
    proof = (
        f"a token came through it {_ago(state.verified_at)} ago"
        if state.verified_at
        else "no token has come through it yet"
    )
    window = f", window {state.client.window:,} tokens" if state.client and state.client.window else ""
    return f"stack {state.name}: {state.state} at {state.gateway_url} ({proof}{window})"


def _routes(state: StackState) -> list[str]:
    """Where the routes lead, in a line."""
    found = []
    for each in state.client.routes if state.client else ():
        problem = f"no token at the start: {each.problem}" if each.problem else ""
        notes = ", ".join(filter(None, ("" if each.engine else "hosted", problem)))
        found.append(f"{each.name} -> {each.engine or each.served}{f' ({notes})' if notes else ''}")
    return [f"routes: {', '.join(found)}"] if found else []


def _row(each: ServiceRecord) -> tuple[str, ...]:
    return (
        each.name,
        each.state,
        _ago(each.since),
        str(each.pid or "-"),
        str(each.port),
        amounts.of_bytes(held) if (held := _memory(each)) is not None else "-",
        str(each.restarts),
        each.model,
    )


def _unwell(state: StackState) -> list[str]:
    """Why those that are not well are not."""
    return [f"{each.name}: {each.detail}" for each in state.services if each.detail and each.state is not State.READY]


def _memory(each: ServiceRecord) -> int | None:
    """Bytes that the whole tree of a service holds, its guard included; None when it does not run."""
    if each.guard is None or not identity.alive(each.guard):
        return None
    tree = identity.descendants(each.guard.pid, identity.table())
    return vitals.memory([each.guard.pid, *(one.pid for one in tree)])


def _ago(since: float) -> str:
    """How long ago, in the two largest units."""
    seconds = max(0, int(time.time() - since))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {seconds % 60}s" if minutes else f"{seconds}s"
