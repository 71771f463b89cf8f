"""`stackctl up`: config -> plan -> install -> preflight -> render -> supervise -> verify, each step from the one before."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict
from typing import TYPE_CHECKING

from stackctl import (
    keys,
    keys_file,
    names,
    output,
    planning,
    remote,
    render,
    runstate,
    services,
    shell,
    starting,
)
from stackctl.checks import as_started, commands, preflight
from stackctl.clients import claude
from stackctl.commands import provision
from stackctl.config import EMBEDDED, Flags
from stackctl.errors import InterruptedByUser, PreflightError, StackError
from stackctl.output import Outcome
from stackctl.plan import HostedPlan
from stackctl.plan.fit import FLOOR
from stackctl.supervise import Order
from stackctl.supervisor import AlreadyRunning
from stackctl.verify import Behind, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.keys import Keys
    from stackctl.model import ClientFacts
    from stackctl.paths import StackPaths
    from stackctl.plan import Plan
    from stackctl.planning import Prepared

START_SECONDS = 24 * 3600.0  # how long a second `up` watches the first one start: that one judges by progress


def run(flags: Flags, *, detach: bool, dry_run: bool, yes: bool, as_json: bool) -> Outcome:
    """Start the stack and stay with it until it is stopped; with `detach`, until it is ready.

    Raises ConfigError (exit code 2), PreflightError (3), or StackError (1) with the cause from the services' logs.
    """
    try:
        return _run(flags, detach=detach, dry_run=dry_run, yes=yes, as_json=as_json)
    except StackError as error:
        error.remedy = commands.of_flags(error.remedy, flags, os.environ)
        raise


def _run(flags: Flags, *, detach: bool, dry_run: bool, yes: bool, as_json: bool) -> Outcome:
    prepared = planning.prepare(flags)
    if dry_run:
        from stackctl.commands import render as show

        rendered = render.render(prepared.plan)
        return Outcome(stdout=show.shown(prepared, rendered), data=show.as_data(prepared, rendered))
    end_on_signals()
    while (already := _already_running(prepared, flags, as_json=as_json)) is None:
        try:
            return _start(provision.made_ready(prepared, flags, yes=yes), detach=detach, as_json=as_json)
        except AlreadyRunning:
            continue  # another `up` was quicker: it is waited for, unless it has gone since
        except PreflightError:
            if runstate.settled(prepared.paths) is None:
                raise  # else the ports are another `up`'s
    return already


def start_detached(flags: Flags, *, yes: bool) -> ClientFacts:
    """Start the stack in the background for another command; return what a client must know. Raises as `run` does."""
    end_on_signals()
    prepared = planning.prepare(flags)
    try:
        prepared = provision.made_ready(prepared, flags, yes=yes)
    except PreflightError:
        if runstate.settled(prepared.paths) is None:
            raise
        return _joined(prepared.paths)  # another command was quicker, and has the ports
    order = order_of(prepared)
    found: list[ClientFacts] = []
    narrator = starting.Narrator(order.specs, found.append)
    try:
        ended = starting.detached(order, narrator)
    except AlreadyRunning:
        return _joined(prepared.paths)
    if ended is not None:
        raise starting.failure(ended, order.specs, _services(prepared.plan), narrator.log_starts)
    return found[0]


def end_on_signals() -> None:
    """Until the supervisor takes over, TERM and HUP unwind like Ctrl-C does: installers and downloads are ended."""

    def unwind(signum: int, _frame: object) -> None:
        raise InterruptedByUser(signum)

    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is not signal.SIG_IGN:  # below nohup
            signal.signal(each, unwind)


def _already_running(prepared: Prepared, flags: Flags, *, as_json: bool) -> Outcome | None:
    """The stack that already runs: the same plan is printed, another one is an error; one that starts is awaited.

    None when none runs, and when one that was being stopped has gone.
    """
    state = runstate.settled(prepared.paths)
    if state is None:
        return None
    restart = f"stackctl restart{names.option(prepared.paths.name)}"
    if keys_file.read(prepared.paths) is None:
        raise StackError(f"the stack `{prepared.paths.name}` runs, but its key file is gone", remedy=restart)
    if state.recovered:
        raise StackError(f"the stack `{prepared.paths.name}` runs, but the record of its plan was lost", remedy=restart)
    if state.plan_digest not in _digests(prepared, flags):
        raise StackError(
            f"the stack `{prepared.paths.name}` already runs, with another plan than this one",
            remedy=f"{restart}, for this plan; or give it a stack of its own: --name NAME",
        )
    output.note(f"stackctl: the stack `{prepared.paths.name}` already runs ({state.gateway_url})")
    client = _joined(prepared.paths)
    return Outcome(stdout="" if as_json else exports(prepared, client), data={"client": asdict(client)})


def _digests(prepared: Prepared, flags: Flags) -> Iterator[str]:
    """What the plan is called: as it was decided, and with the ports that another `up` has recorded since."""
    yield prepared.plan.digest
    yield planning.prepare(flags).plan.digest


def _joined(paths: StackPaths) -> ClientFacts:
    """Wait for a stack that another command is starting."""
    client = runstate.await_ready(paths, START_SECONDS)
    if client is None:
        raise StackError(
            f"the stack `{paths.name}` was being started by another command, and failed or was stopped",
            remedy=f"stackctl up{names.option(paths.name)}",
        )
    return client


def _start(prepared: Prepared, *, detach: bool, as_json: bool) -> Outcome:
    """Hand the services to a supervisor, which writes files once it holds the stack's lock."""
    plan, paths = prepared.plan, prepared.paths
    order = order_of(prepared)

    def ready(client: ClientFacts) -> None:
        if client.window and client.window < FLOOR and plan.engine.model != EMBEDDED:
            output.warn(f"the window is {client.window:,} tokens: an agent's first request alone has 8,000 to 25,000")
        try:
            output.data(
                json.dumps({"schema": 1, "data": {"client": asdict(client)}}) + "\n"
                if as_json
                else exports(prepared, client)
            )
        except OSError as error:  # a full disk, a pipe that nobody reads: no reason to take a stack down
            output.warn(f"cannot write the exports: {error.strerror}; `stackctl env` prints them")
        if not detach:
            output.note("stackctl: the stack runs until Ctrl-C, or `stackctl down` in another shell")

    narrator = starting.Narrator(order.specs, ready)
    ended = starting.detached(order, narrator) if detach else starting.foreground(order, narrator)
    if ended is None:
        output.note(
            f"stackctl: the stack `{paths.name}` runs in the background; stackctl down{names.option(paths.name)} stops it"
        )
        return Outcome(quiet=True)
    status = starting.exit_code(ended, order.specs, _services(plan), narrator.log_starts)
    output.note(f"stackctl: the stack `{paths.name}` is down; nothing of it is left running")
    return Outcome(status, quiet=True)


def order_of(prepared: Prepared) -> Order:
    """What a supervisor is to run; the directories and keys that it needs are made."""
    plan, paths = prepared.plan, prepared.paths
    preflight.make_directories(prepared)
    made = _keys(prepared)
    return Order(
        name=paths.name,
        digest=plan.digest,
        gateway_url=plan.gateway.url,
        specs=services.specs(plan, paths, made, runstate.tmp_path(paths), os.environ),
        target=Target(
            planning.promised(prepared),
            made.client,
            tuple(
                Behind(
                    each.name,
                    each.url,
                    each.served,
                    made.engines[each.name] if plan.gateway.argv else made.client,
                    elsewhere=not each.managed,
                )
                for each in plan.engines
            ),
        ),
        files=render.render(plan),
        ports=prepared.ports.record(),
        config=prepared.loaded.source,
        chosen=as_started.chosen(prepared.loaded),
    )


def _services(plan: Plan) -> dict[str, str]:
    """The names that the engines have in the configuration, by their services'."""
    return {each.service: each.name for each in plan.managed}


def _keys(prepared: Prepared) -> Keys:
    loaded = prepared.loaded
    return keys.make(
        prepared.paths,
        managed=loaded.managed,
        remote={
            name: remote.api_key(each, f"the engine `{name}`")
            for name, each in loaded.engines.items()
            if each.url is not None
        },
        hosted=_hosted_keys(prepared),
    )


def _hosted_keys(prepared: Prepared) -> dict[str, str]:
    """The providers' keys, by the variables that the gateway finds them under."""
    return {
        each.to.variable: str(remote.api_key(prepared.loaded.hosted[each.name], f"the route `{each.name}`"))
        for each in prepared.plan.routes
        if isinstance(each.to, HostedPlan)
    }


def exports(prepared: Prepared, client: ClientFacts) -> str:
    """The exports for stdout. The token stands there only on a terminal; a pipe gets it from `stackctl env`."""
    key = keys_file.read(prepared.paths) if output.stdout_is_terminal() else None
    text = shell.exports(claude.environment(claude.for_installed(asdict(client), os.environ), key, os.environ))
    if key is None:
        text += f'# with {claude.TOKEN}:  eval "$(stackctl env{names.option(prepared.paths.name)})"\n'
    return text
