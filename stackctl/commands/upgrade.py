"""`stackctl upgrade`: the environments of this version of stackctl, made beside the old ones, proved, then switched to.

Whatever ends it half-way, the old environments stay in use: they are pinned before anything is made, and the switch
is the rename of one file. What is proved is a stack of its own, on free ports, through which a real token must come.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

from stackctl import belongings, config, files, host, output, paths, planning, runstate, starting, supervise, toolchain
from stackctl.checks import preflight
from stackctl.commands import provision, up
from stackctl.config import EMBEDDED, Flags
from stackctl.errors import InterruptedByUser, StackError
from stackctl.hub.cache import cache_dir
from stackctl.model import ServiceKind, State
from stackctl.output import Outcome
from stackctl.paths import StackPaths
from stackctl.supervisor import Ready
from stackctl.toolchain import atomic, chosen
from stackctl.toolchain.builds import build_for
from stackctl.toolchain.environment import managed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stackctl.config import Loaded
    from stackctl.host import Host
    from stackctl.supervisor import Event
    from stackctl.toolchain import Toolchain
    from stackctl.toolchain.builds import Build

_KINDS = (ServiceKind.ENGINE, ServiceKind.GATEWAY)


def run(flags: Flags, *, back: bool, dry_run: bool, yes: bool) -> Outcome:
    """Upgrade, or go back. Raises StackError when the new environments do not prove themselves: the old stay in use."""
    loaded = config.load(flags)
    machine = host.inspect(cache_dir())
    builds = [build_for(kind, machine.accelerator) for kind in _KINDS if _is_ours(loaded, kind, machine.accelerator)]
    if not builds:
        return Outcome(lines=["stackctl: nothing to upgrade: vLLM and LiteLLM are yours (python:, command:, url:)"])
    if back and dry_run:
        return Outcome(lines=_would_go_back(builds), data={"switched": []})
    files.private_dir(paths.home())
    up.end_on_signals()
    with atomic.locked(f"{paths.environments_file()}.lock", lambda text: output.step("upgrade", text, 0.0)):
        return _back(builds) if back else _forth(loaded, machine, builds, dry_run=dry_run, yes=yes)


def _is_ours(loaded: Loaded, kind: ServiceKind, accelerator: str) -> bool:
    """Whether a service runs from an environment that stackctl makes."""
    engine, gateway = loaded.engine, loaded.config.gateway
    if kind is ServiceKind.ENGINE:
        if engine.url is not None or engine.command is not None or engine.python is not None:
            return False
    elif gateway.kind == "direct" or gateway.python is not None:
        return False
    return toolchain.locate(kind, configured_python=None, accelerator=accelerator).source == "managed"


def _back(builds: Iterable[Build]) -> Outcome:
    """Return to what was in use before the last switch."""
    known = _earlier(builds)
    chosen.switch(known)
    return _switched(known, "went back to")


def _would_go_back(builds: Iterable[Build]) -> list[str]:
    said = [f"stackctl: {_title(chosen.current(build))} -> {_title(old)}" for build, old in _earlier(builds)]
    return [*said, "stackctl: nothing was changed"]


def _earlier(builds: Iterable[Build]) -> list[tuple[Build, Toolchain]]:
    """What was in use before, where that is another. Raises StackError where there is none."""
    known = [(build, old) for build in builds if (old := chosen.previous(build)) is not None]
    known = [(build, old) for build, old in known if old.python != chosen.current(build).python]
    if not known:
        raise StackError(
            "there is no earlier environment to go back to", remedy="stackctl gc --dry-run shows those that are there"
        )
    return known


def _forth(loaded: Loaded, machine: Host, builds: Sequence[Build], *, dry_run: bool, yes: bool) -> Outcome:
    todo = [(build, managed(build)) for build in builds]
    todo = [(build, new) for build, new in todo if chosen.current(build) != new or not new.installed]
    if not todo:
        uses = " and ".join(_title(managed(build)) for build in builds)
        return Outcome(
            lines=[f"stackctl: nothing to upgrade: {uses}, which this version of stackctl was tested with"],
            data={"switched": []},
        )
    for build, new in todo:
        old = chosen.current(build)
        output.note(f"stackctl: {_title(old) if old.installed else 'nothing'} -> {_title(new)}")
        provision.fail_on(toolchain.requirements(build.kind, machine.accelerator, machine))
    if dry_run:
        return Outcome(lines=["stackctl: nothing was changed"], data={"switched": []})
    if not output.ask("Make them beside the old ones, prove them with a real token, and switch?", assume=yes):
        raise InterruptedByUser(signal.SIGINT)
    began = time.monotonic()

    def step(text: str) -> None:
        output.step("upgrade", text, time.monotonic() - began)

    step("keeping what is in use")
    chosen.pin((build, old) for build, _ in todo if (old := chosen.current(build)).installed)
    for _, new in todo:
        toolchain.install(new, on_progress=step)
        step(f"{_title(new)} is installed")
        provision.fail_on(toolchain.check(new, allow_untested=False))
    step("proving them with a stack of their own")
    _prove(loaded, machine, [build.kind for build, _ in todo])
    step("switching")
    chosen.switch(todo)
    return _switched(todo, "switched to")


def _title(tool: Toolchain) -> str:
    return f"{tool.package} {tool.version}"


def _switched(tools: Sequence[tuple[Build, Toolchain]], what: str) -> Outcome:
    uses = " and ".join(_title(tool) for _, tool in tools)
    lines = [f"stackctl: {what} {uses}; `stackctl restart` takes a stack that runs along"]
    if what == "switched to":
        lines.append("          `stackctl upgrade --back` returns to the old ones, `stackctl gc` removes them")
    return Outcome(lines=lines, data={"switched": [_title(tool) for _, tool in tools]})


# --- the proof ------------------------------------------------------------------------------------------------------


def _prove(loaded: Loaded, machine: Host, kinds: Sequence[ServiceKind]) -> None:
    """Run a stack from the new environments until a token has come through it; nothing of it is left afterwards."""
    stack = StackPaths(belongings.TRIAL)
    _remove_trial(stack)
    if os.path.lexists(stack.root):
        raise StackError(
            f"there is a stack named `{belongings.TRIAL}`",
            remedy=f"stackctl down --name {belongings.TRIAL}; rm -r {stack.root}",
        )
    try:
        file = paths.trial_file()  # there before anything of the trial is, and gone after it: it says whose that is
        files.write_private(file, json.dumps(_trial_config(loaded)))  # JSON is YAML
        prepared = planning.decide(
            config.load(Flags(config=file, name=belongings.TRIAL), {}), machine, find=_finder(kinds)
        )
        provision.fail_on(preflight.run(prepared))
        provision.fetch_models(prepared)
        order = up.order_of(prepared)

        def on_event(event: Event) -> None:
            narrator(event)
            if isinstance(event, Ready):
                running.request_stop()

        narrator = starting.Narrator(order.specs, lambda _client: None)
        running = supervise.supervisor(order, on_event)
        ended = running.run()
        if ended.signum is not None:
            raise InterruptedByUser(ended.signum)
        if ended.state is State.FAILED:
            cause = starting.failure(ended, order.specs, {"engine": prepared.plan.engine.name}, narrator.log_starts)
            raise StackError(
                f"the new environments were not switched to, the old ones stay in use: {cause.message}",
                remedy=cause.remedy,
                evidence=cause.evidence,
            )
    finally:
        _remove_trial(stack)


def _finder(new: Sequence[ServiceKind]) -> Callable[..., Toolchain]:
    """A `locate` that takes what this version makes itself for the kinds in `new`, chosen or not."""

    def find(kind: ServiceKind, *, configured_python: str | None, accelerator: str) -> Toolchain:
        if kind in new:
            return managed(build_for(kind, accelerator))
        return toolchain.locate(kind, configured_python=configured_python, accelerator=accelerator)

    return find


def _trial_config(loaded: Loaded) -> dict[str, Any]:
    """The user's gateway before their engine; a managed engine serves the embedded model, which fits beside theirs."""
    engine, gateway = loaded.engine, loaded.config.gateway
    ours: dict[str, Any] = {"model": EMBEDDED}
    if engine.command is not None:
        ours = {"model": engine.model, "command": engine.command, "args": dict(engine.args)}
        ours["max_model_len"] = engine.max_model_len
    elif engine.url is not None:
        ours = {"model": engine.model, "url": engine.url, "api_key": engine.api_key}
    elif engine.python is not None:
        ours["python"] = engine.python
    return {
        "engines": {"main": ours},
        "gateway": {"kind": gateway.kind, "python": gateway.python},
        "allow_untested": loaded.config.allow_untested,
    }


def _remove_trial(stack: StackPaths) -> None:
    """Take down and remove what a trial has left; a stack of that name which is not ours is let be."""
    if belongings.trial_left():
        runstate.reconcile(stack)
    if left := belongings.trial_left():
        shutil.rmtree(left, ignore_errors=True)
    if not os.path.lexists(stack.root):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(paths.trial_file())
