"""Repairs of what runs and of what it runs with: services restarted, records put aside, environments made anew."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import addresses, keys, redact, runstate
from stackctl.repair import stackfile
from stackctl.repair.change import Change, Edit

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.checks.facts import Facts
    from stackctl.repair.context import Here, Verb
    from stackctl.toolchain import Toolchain


def _command(*words: str) -> Verb:
    def made(here: Here, *more: str) -> Change | None:
        if not here.facts.own:
            return None
        return Change(f"stackctl {' '.join([*words, *more])}", commands=((*words, *more),))

    return made


def restart_running(here: Here) -> Change:
    """`restart-running`: so that what was changed counts; nothing where nothing runs."""
    return Change("stackctl restart", commands=(("restart",),)) if here.facts.running else Change("")


restart, up, down = _command("restart"), _command("up"), _command("down")


def record(here: Here) -> Change | None:
    """A record of the stack that cannot be read: `down` puts it aside and stops what it finds; what ran runs again."""
    paths = here.facts.paths
    change = down(here)
    again = up(here)
    if change is None or again is None or paths is None:
        return None
    return change + again if runstate.is_locked(paths) else change


def key(here: Here) -> Change | None:
    """The client key as what runs asks for it, written again: shells that have it go on working, and nothing restarts."""
    state, paths = here.facts.state, here.facts.paths
    port = addresses.parts(state.gateway_url).port if state is not None and here.facts.running else None
    for each in state.services if state is not None else ():
        if each.port == port and each.pid is not None and paths is not None:
            known = redact.secrets_by_name(each.pid)
            said = known.get("STACKCTL_CLIENT_KEY") or known.get("VLLM_API_KEY", "")
            if said.startswith(keys.PREFIX):
                return Change("write the client key again", (Edit(paths.client_key, f"{said}\n", secret=True),))
    return None


def _tool(here: Here, kind: str) -> Toolchain | None:
    """The toolchain of a kind; without one, the one whose Python the finding names."""
    prepared = here.facts.prepared
    tools = (prepared.plan.engine.toolchain, prepared.plan.gateway.toolchain) if prepared is not None else ()
    for tool in tools:
        if tool is not None and (tool.kind == kind or (not kind and _names(here, tool))):
            return tool
    return None


def _names(here: Here, tool: Toolchain) -> bool:
    places = (os.path.dirname(os.path.dirname(tool.python)), *tool.site_packages)
    return any(place in here.said for place in places)


def environment(here: Here, kind: str = "") -> Change | None:
    """A managed environment made anew; where the user named one that is no good, `python:` is left out."""
    tool = _tool(here, kind)
    if tool is None:
        return None
    if tool.source == "configured":
        return stackfile.without_python(here, str(tool.kind))
    if tool.source != "managed":
        return None
    root = os.path.dirname(os.path.dirname(tool.python))
    edits = (Edit(root, None),) if os.path.lexists(root) else ()
    return Change(f"make the {tool.kind}'s environment anew", edits, commands=(("install", str(tool.kind)),))


def embedded(here: Here) -> Change | None:
    """The embedded model made anew."""
    from stackctl import fetch

    place = fetch.embedded_dir()
    if here.facts.prepared is None or not os.path.lexists(place):
        return None
    return Change("make the embedded model anew", (Edit(place, None),), commands=(("install", "model"),))


def install(facts: Facts, kind: str, on_progress: Callable[[str], None]) -> None:
    """Make what `("install", kind)` names: an environment, or the embedded model. Raises StackError."""
    from stackctl import fetch, toolchain
    from stackctl.model import ServiceKind

    if facts.host is None:
        return
    wanted = ServiceKind.GATEWAY if kind == "gateway" else ServiceKind.ENGINE
    tool = toolchain.locate(wanted, configured_python=None, accelerator=facts.host.accelerator)
    if kind == "model":
        fetch.embedded(tool, on_progress=on_progress)
    else:
        toolchain.install(tool, on_progress=on_progress)


VERBS: dict[str, Verb] = {
    "restart": restart,
    "restart-running": restart_running,
    "up": up,
    "down": down,
    "trust": _command("trust"),
    "quarantine-state": record,
    "key-again": key,
    "rebuild": environment,
    "embedded": embedded,
}
