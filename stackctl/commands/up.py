"""`stackctl up`: config -> plan -> install -> preflight -> render -> supervise -> verify, each step from the one before."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from stackctl import (
    chat_templates,
    fetch,
    keys,
    keys_file,
    names,
    output,
    own_code,
    planning,
    remote,
    render,
    runstate,
    services,
    shell,
    sizes,
    starting,
    toolchain,
)
from stackctl.checks import before, code, preflight, verdict
from stackctl.clients import claude
from stackctl.commands import trust
from stackctl.config import EMBEDDED, Flags
from stackctl.errors import InterruptedByUser, PreflightError, StackError
from stackctl.model import ServiceKind, Status
from stackctl.output import Outcome
from stackctl.plan import HostedPlan, advise
from stackctl.supervise import Order
from stackctl.supervisor import AlreadyRunning
from stackctl.verify import Behind, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stackctl.hub.download import Head
    from stackctl.keys import Keys
    from stackctl.model import ClientFacts, Finding
    from stackctl.paths import StackPaths
    from stackctl.plan import EnginePlan, Plan
    from stackctl.planning import Prepared
    from stackctl.toolchain import Toolchain

AGENT_WINDOW = 16384  # tokens; less is no room for an agent (vllm#44576, jan#8108)
START_SECONDS = 24 * 3600.0  # how long a second `up` watches the first one start: that one judges by progress


def run(flags: Flags, *, detach: bool, dry_run: bool, yes: bool, as_json: bool) -> Outcome:
    """Start the stack and stay with it until it is stopped; with `detach`, until it is ready.

    Raises ConfigError (exit code 2), PreflightError (3), or StackError (1) with the cause from the services' logs.
    """
    prepared = planning.prepare(flags)
    if dry_run:
        from stackctl.commands import render as show

        rendered = render.render(prepared.plan)
        return Outcome(stdout=show.shown(prepared, rendered), data=show.as_data(prepared, rendered))
    end_on_signals()
    already = _already_running(prepared, as_json=as_json)
    if already is not None:
        return already
    return _start(_made_ready(prepared, flags, yes=yes), detach=detach, as_json=as_json)


def start_detached(flags: Flags, *, yes: bool) -> ClientFacts:
    """Start the stack in the background for another command; return what a client must know. Raises as `run` does."""
    end_on_signals()
    prepared = _made_ready(planning.prepare(flags), flags, yes=yes)
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


def _made_ready(prepared: Prepared, flags: Flags, *, yes: bool) -> Prepared:
    """All that comes before the start: a model is settled, the machine checked, programs and weights are on disk."""
    prepared = _looked_up(_proposed(prepared, flags, yes=yes))
    _greet(prepared)
    render.render(prepared.plan)  # a spoiled template is found now, and not after a download
    prepared = trust.asked(prepared, yes=yes)
    fail_on(preflight.run(prepared))
    prepared = _installed(prepared, yes=yes)
    fail_on(trust.before_download(prepared, yes=yes))
    fetch_models(prepared)
    return _measured(prepared)


def _looked_up(prepared: Prepared) -> Prepared:
    """Hub models that nobody knows are planned from what the hub says of them, before anything is installed for them."""
    heads = {
        each.name: _head(each.model, config.revision)
        for each in prepared.plan.managed
        if (config := prepared.loaded.engines[each.name]).command is None
        and not fetch.is_local(each.model)
        and each.model != EMBEDDED
        and sizes.size_of(each.model, revision=config.revision) is None
    }
    return planning.decide(prepared.loaded, prepared.host, heads=heads) if heads else prepared


def _head(model: str, revision: str | None) -> Head:
    output.note(f"stackctl: {model} is not in the catalogue: asking the hub what it is")
    return fetch.head(model, revision=revision)


def _measured(prepared: Prepared) -> Prepared:
    """Plan again what the files of the models decide, now that they are here: sizes, and code that was agreed to."""
    loaded = prepared.loaded
    fetched = [
        each for each in prepared.plan.managed if each.model != EMBEDDED and not loaded.engines[each.name].command
    ]
    unknown = {each.name for each in fetched if each.fit is None}
    agreed = any(
        own_code.agreed(each.model, loaded.engines[each.name].revision)
        for each in fetched
        if "--trust-remote-code" not in each.argv
    )
    if not unknown and not agreed:
        return prepared
    again = planning.decide(prepared.loaded, prepared.host)
    if not agreed and all(each.fit is None for each in again.plan.engines if each.name in unknown):
        return prepared
    fail_on(preflight.run(again))
    for each in again.plan.notes:
        if each not in prepared.plan.notes:
            output.warn(each)
    return again


def end_on_signals() -> None:
    """Until the supervisor takes over, TERM and HUP unwind like Ctrl-C does: installers and downloads are ended."""

    def unwind(signum: int, _frame: object) -> None:
        raise InterruptedByUser(signum)

    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is not signal.SIG_IGN:  # below nohup
            signal.signal(each, unwind)


def _already_running(prepared: Prepared, *, as_json: bool) -> Outcome | None:
    """The stack that already runs: the same plan is printed, another one is an error; one that starts is awaited."""
    state = runstate.running(prepared.paths)
    if state is None:
        return None
    restart = f"stackctl restart{names.option(prepared.paths.name)}"
    if keys_file.read(prepared.paths) is None:
        raise StackError(f"the stack `{prepared.paths.name}` runs, but its key file is gone", remedy=restart)
    if state.recovered:
        raise StackError(f"the stack `{prepared.paths.name}` runs, but the record of its plan was lost", remedy=restart)
    if state.plan_digest != prepared.plan.digest:
        raise StackError(
            f"the stack `{prepared.paths.name}` already runs, with another plan than this one",
            remedy=f"{restart}, for this plan; or give it a stack of its own: --name NAME",
        )
    output.note(f"stackctl: the stack `{prepared.paths.name}` already runs ({state.gateway_url})")
    client = _joined(prepared.paths)
    return Outcome(stdout="" if as_json else exports(prepared, client), data={"client": asdict(client)})


def _joined(paths: StackPaths) -> ClientFacts:
    """Wait for a stack that another command is starting."""
    client = runstate.await_ready(paths, START_SECONDS)
    if client is None:
        raise StackError(
            f"the stack `{paths.name}` was being started and failed", remedy=f"stackctl up{names.option(paths.name)}"
        )
    return client


def _proposed(prepared: Prepared, flags: Flags, *, yes: bool) -> Prepared:
    """With a GPU and no model named, offer one that fits; without a terminal the embedded default is served."""
    named = prepared.loaded.origin(f"engines.{prepared.loaded.engine_name}.model")[0] != "default"
    if named or prepared.loaded.engine.url or not prepared.host.gpus or yes or not output.has_terminal():
        return prepared
    best = advise.best(prepared.host)
    if best is None:
        output.note(
            "stackctl: no model that can code fits this GPU now (stackctl models); a hosted one serves you better"
        )
        return prepared
    model, window = best.found.variant.id, best.fit.window // 1024
    if not output.ask(f"No model is named. Serve {model}, which fits with a window of {window}k?", assume=False):
        return prepared
    return planning.prepare(Flags(flags.config, flags.name, model, flags.gateway, flags.allow_untested))


def _greet(prepared: Prepared) -> None:
    plan = prepared.plan
    served = ", ".join(f"{each.model} at {each.url}" for each in plan.engines)
    output.note(f"stackctl: {served}, clients at {plan.gateway.url}")
    for each in plan.routes:
        who = f"{each.to.model} of a provider" if isinstance(each.to, HostedPlan) else each.to.name
        output.note(f"stackctl: route {each.name}: {each.model} -> {who}")
    if plan.hosted:
        output.note("stackctl: each provider's model is asked for one token at the start, which may cost that much")
    if plan.engine.model == EMBEDDED:
        output.note(
            "stackctl: the embedded SmolLM2-135M only proves the chain: it talks nonsense and cannot use tools.\n"
            "          For a model that works:  stackctl up --model Qwen/Qwen3.8-27B-FP8   (any Hugging Face id or path)"
        )
    for note in plan.notes:
        output.warn(note)
    for tool in _tools(plan):
        if newer := toolchain.waiting(tool):
            output.note(
                f"stackctl: {newer}, tested with this version, waits (you run {tool.version}): stackctl upgrade"
            )


def _tools(plan: Plan) -> list[Toolchain]:
    """The programs of all services, each once."""
    tools = [*(each.toolchain for each in plan.engines), plan.gateway.toolchain]
    return list(dict.fromkeys(tool for tool in tools if tool is not None))


def _installed(prepared: Prepared, *, yes: bool) -> Prepared:
    """Install what is missing of vLLM and LiteLLM, after asking; plan again with the versions that are now known."""
    plan = prepared.plan
    missing = [tool for tool in _tools(plan) if not tool.installed]
    if not missing:
        return prepared
    for tool in missing:
        fail_on(toolchain.requirements(tool.kind, prepared.host.accelerator, prepared.host))
    titles = " and ".join(f"{tool.package} {tool.version}" for tool in missing)
    if not output.ask(
        f"{titles} will be installed under {os.path.dirname(os.path.dirname(os.path.dirname(missing[0].python)))}. Go on?",
        assume=yes,
    ):
        raise InterruptedByUser(signal.SIGINT)
    for tool in missing:
        toolchain.install(tool, on_progress=_progress("engine" if tool.kind is ServiceKind.ENGINE else "gateway"))
    prepared = trust.asked(planning.decide(prepared.loaded, prepared.host, heads=prepared.heads), yes=yes)
    fail_on(preflight.run(prepared, preflight.TOOLS))
    return prepared


def _progress(who: str) -> Callable[[str], None]:
    """A printer of steps with the time since now."""
    began = time.monotonic()
    return lambda text: output.step(who, text, time.monotonic() - began)


def fetch_models(prepared: Prepared) -> None:
    """Have the models on disk before anything starts: the engines themselves run offline."""
    for engine in prepared.plan.managed:
        if engine.chat_template:
            chat_templates.ensure(engine.chat_template, engine.name, on_progress=_progress("model"))
        if not prepared.loaded.engines[engine.name].command:
            _fetch_model(prepared, engine)


def _fetch_model(prepared: Prepared, engine: EnginePlan) -> None:
    progress = _progress("model")
    if engine.model == EMBEDDED:
        assert engine.toolchain is not None  # noqa: S101 - a managed engine without `command` has one
        fetch.embedded(engine.toolchain, on_progress=progress)
    elif not fetch.is_local(engine.model):
        began = time.monotonic()
        directory = fetch.model(
            engine.model,
            revision=prepared.loaded.engines[engine.name].revision,
            on_progress=lambda at: output.meter("model", at.text, time.monotonic() - began),
        )
        progress(f"{engine.model} is on disk")
        fail_on([*preflight.on_disk(prepared, engine, directory), *code.in_files(prepared, engine, directory)])


def fail_on(found: Iterable[Finding]) -> None:
    """Print the warnings among findings; raise PreflightError for the first failure, with the others as evidence.

    It is the one that `stackctl doctor` would begin with, in the same words.
    """
    findings = [before.named(each) for each in found]
    failed = [each for each in findings if each.status is Status.FAIL]
    for each in findings:
        if each.status is Status.WARN:
            output.warn(f"{each.cause} ({each.remedy})" if each.remedy else each.cause)
    first = verdict.culprit(failed)
    if first is not None:
        also = [f"also: {each.cause}" for each in failed if each is not first]
        see = [f"see: docs/TROUBLESHOOTING.md#{first.docs}"] if first.docs else []
        raise PreflightError(first.cause, remedy=first.remedy, evidence=(*first.evidence, *also, *see))


def _start(prepared: Prepared, *, detach: bool, as_json: bool) -> Outcome:
    """Hand the services to a supervisor, which writes files once it holds the stack's lock."""
    plan, paths = prepared.plan, prepared.paths
    order = order_of(prepared)

    def ready(client: ClientFacts) -> None:
        if client.window and client.window < AGENT_WINDOW and plan.engine.model != EMBEDDED:
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
    try:
        ended = starting.detached(order, narrator) if detach else starting.foreground(order, narrator)
    except AlreadyRunning:
        again = _already_running(prepared, as_json=as_json)
        if again is not None:
            return again
        raise
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
                Behind(each.name, each.url, each.served, made.engines[each.name] if plan.gateway.argv else made.client)
                for each in plan.engines
            ),
        ),
        files=render.render(plan),
        ports=prepared.ports.record(),
        config=prepared.loaded.source,
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
