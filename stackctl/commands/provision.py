"""What comes between a plan and its start: the model settled, the machine checked, programs and weights on disk."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from stackctl import chat_templates, fetch, output, own_code, planning, render, sizes, toolchain
from stackctl.checks import before, code, preflight, preflight_model, verdict
from stackctl.checks.modelfiles import whole
from stackctl.commands import trust
from stackctl.config import EMBEDDED, Flags
from stackctl.errors import InterruptedByUser, PreflightError
from stackctl.model import ServiceKind, Status
from stackctl.plan import HostedPlan, advise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stackctl.hub.download import Head
    from stackctl.model import Finding
    from stackctl.plan import EnginePlan, Plan
    from stackctl.planning import Prepared
    from stackctl.toolchain import Toolchain


def made_ready(prepared: Prepared, flags: Flags, *, yes: bool) -> Prepared:
    """All that comes before the start: a model is settled, the machine checked, programs and weights are on disk.

    Raises ConfigError, PreflightError for the first check that fails, InterruptedByUser for a question answered no.
    """
    prepared = looked_up(_proposed(prepared, flags, yes=yes))
    _greet(prepared)
    render.render(prepared.plan)  # a spoiled template is found now, and not after a download
    prepared = trust.asked(prepared, yes=yes)
    fail_on(preflight.run(prepared))
    prepared = _installed(prepared, yes=yes)
    fail_on(trust.before_download(prepared, yes=yes))
    fetch_models(prepared)
    return measured(prepared)


def looked_up(prepared: Prepared) -> Prepared:
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
        fail_on([*preflight_model.on_disk(prepared, engine, directory), *code.in_files(prepared, engine, directory)])
        fail_on(whole.of(directory))
    else:
        fail_on(whole.of(os.path.abspath(os.path.expanduser(engine.model))))


def measured(prepared: Prepared) -> Prepared:
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
