"""`stackctl models`: which models suit this machine, why, and having one on disk before it is needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from stackctl import chat_templates, fetch, host, output, planning, sizes
from stackctl.catalog import families, models
from stackctl.config import EMBEDDED
from stackctl.errors import ConfigError
from stackctl.hub.cache import cache_dir
from stackctl.output import Outcome
from stackctl.plan import advise, explain
from stackctl.plan import fit as fitting
from stackctl.plan.hardware import devices

if TYPE_CHECKING:
    from stackctl.catalog.models import Model
    from stackctl.host import Host
    from stackctl.plan.advise import Advice

_HEAD = ("MODEL", "WINDOW", "AT ONCE", "SPEED", "AS AN AGENT", "DISK", "LICENCE")
_FLOOR = 16 * 10**9  # bytes of the largest GPU, below which nothing in the catalogue can work as an agent


def run(*, every: bool = False) -> Outcome:
    """What fits this machine, best first; with `every`, also what does not, and why."""
    machine = host.inspect(cache_dir())
    found = advise.ranked(machine)
    fitting_ones = [each for each in found if not each.fit.refusal]
    shown = found if every else fitting_ones
    lines = [f"stackctl: {machine.summary()}", *(f"stackctl: {word}" for word in honest(machine, fitting_ones))]
    table = (_HEAD, [_row(each, machine) for each in shown]) if shown else None
    data = {
        "machine": machine.summary(),
        "models": [explain.as_data(each.fit) | _about(each) for each in found],
    }
    return Outcome(lines=lines, table=table, data=data)


def honest(machine: Host, fitting_ones: list[Advice]) -> list[str]:
    """What a person should know before choosing: nothing that suits, a missing driver, an unusual card."""
    words = [machine.gpu_problem] if machine.gpu_problem else []
    if machine.is_mac:
        words.append(
            "there is no build of vLLM for macOS: run the engine on a machine with a GPU and name it by `url:`"
        )
    elif machine.gpus:
        if max(card.memory_total for card in machine.gpus) < _FLOOR:
            words.append(
                "below the floor of models that can work as an agent (16 GB): a hosted model, or a GPU box named by "
                "`url:`, serves you better"
            )
        elif not fitting_ones:
            words.append("nothing fits what is free now: close what holds GPU memory and ask again")
    elif machine.amd:
        words.append(
            "PyPI's vLLM is for CUDA: an AMD card needs an environment of your own with vLLM for ROCm (engines.NAME.python)"
        )
    else:
        words.append("without a GPU a model that codes answers in minutes, not seconds: what is listed is for patience")
    return words


def show(name: str) -> Outcome:
    """What the catalogue knows of a model. Raises ConfigError for one that it does not know."""
    found = _known(name)
    model = found.model
    family = families.match(model.id)
    rows = [
        ("parameters", f"{model.params:g} billion" if model.params else "not sourced"),
        ("at work for a token", f"{model.active:g} billion" if model.active else "not sourced"),
        ("window", f"{model.context} tokens"),
        ("images", "yes" if model.vision else "no"),
        ("as an agent", _agent(model, source=True)),
        ("licence", f"{model.licence.name} ({model.licence.source})" if model.licence else "see its card"),
        ("gated", "yes: accept its terms on its page, then set HF_TOKEN" if model.gated else "no"),
        ("tool parser", f"{family.tool} ({family.source})" if family and family.tool else "none known"),
        ("reasoning parser", (family.reasoning or "none needed") if family else "none known"),
        ("chat template", f"{family.chat_template} of vLLM's source" if family and family.chat_template else "its own"),
        ("own code", "asks before it is run (stackctl trust --code)" if family and family.needs_remote_code else "no"),
        ("sizes from", model.arch_source or f"none: {model.no_arch}"),
    ]
    if family and (family.warn or family.notes):
        rows.append(("trouble", family.warn or family.notes))
    width = max(len(row[0]) for row in rows)
    text = f"{model.id}\n" + "".join(f"  {what:<{width}}  {value}\n" for what, value in rows)
    for each in model.variants:
        least = f", at least {each.minimum_gb:g} GB of memory" if each.minimum_gb else ""
        text += f"  - {each.id}: {each.precision}, {each.weights_gb:g} GB{least}\n"
    return Outcome(stdout=text, data=_model_data(model))


def explained(name: str, *, window: int | None = None) -> Outcome:
    """The sum of a model on this machine. Raises ConfigError for one that is neither known nor on this machine."""
    _one_of_the_hub(name)
    size = sizes.size_of(name)
    if size is None and not fetch.is_local(name):
        head = fetch.head(name, revision=None)  # some KiB
        size = sizes.of_files(name, head.directory, weights=head.weights)
    if size is None:
        raise ConfigError(
            f"{name} is not in the catalogue, and its files do not say how large it is",
            remedy="stackctl models --all lists the known ones",
        )
    machine = host.inspect(cache_dir())
    used = devices(machine, amd=True)
    fit = fitting.fit(size, used, fitting.Asked(window=window))
    rows = explain.rows(fit)
    text = f"{size.name} on {machine.summary()}\n"
    if rows:
        text += "\n" + _aligned([("", "GiB", "of each GPU" if used[0].kind != "cpu" else ""), *rows]) + "\n"
    text += f"no: {fit.refusal}\n" if fit.refusal else "".join(f"{flag}\n" for flag in _flags(fit))
    text += "".join(f"note: {note}\n" for note in fit.notes)
    text += f"{explain.SURE[fit.size.sure]}{f' ({size.source})' if size.source else ''}\n"
    if fit.refusal:
        other = advise.instead(name, machine, amd=True)
        best = f"{other.found.variant.id}, with a window of {other.fit.window} tokens" if other else advise.NOTHING
        text += f"instead: {best}\n"
    return Outcome(1 if fit.refusal else 0, stdout=text, data=explain.as_data(fit))


def pull(name: str, *, revision: str | None) -> Outcome:
    """Have a model on this machine. Raises PreflightError (gated, unknown, no room) or StackError (network)."""
    _one_of_the_hub(name)
    if fetch.is_local(name):
        raise ConfigError(f"{name} is a path: it is on this machine already", remedy="name a Hugging Face id")
    size = sizes.size_of(name, revision=revision)
    if size is not None:
        machine = host.inspect(cache_dir())
        fit = fitting.fit(size, devices(machine, amd=True))
        if fit.refusal:
            output.warn(f"{name} does not fit this machine: {fit.refusal}")
    began = time.monotonic()
    path = fetch.model(
        name,
        revision=revision,
        on_progress=lambda at: output.meter("model", at.text, time.monotonic() - began),
    )
    family = planning.family_of(name, revision)
    if family is not None and family.chat_template:  # so that `up` needs no network any more
        chat_templates.ensure(
            family.chat_template,
            "NAME",
            on_progress=lambda text: output.step("model", text, time.monotonic() - began),
        )
    return Outcome(lines=[f"stackctl: {name} is at {path}"], data={"id": name, "path": path})


def _one_of_the_hub(name: str) -> None:
    """Raise ConfigError for what no hub could have, without asking one."""
    if name == EMBEDDED:
        raise ConfigError(
            "the embedded model is made from a package at the first `stackctl up`: it only proves the chain",
            remedy="name a model of the hub; stackctl models lists some",
        )
    if not name.strip() or not name.isprintable() or name.startswith("-"):
        raise ConfigError(f"{name!r} is not a model name", remedy="give a Hugging Face id: OWNER/NAME")


def _known(name: str) -> models.Found:
    found = models.find(name)
    if found is None:
        import difflib

        near = difflib.get_close_matches(name, models.names(), n=1, cutoff=0.4)
        raise ConfigError(
            f"{name} is not in the catalogue",
            remedy=f"did you mean {near[0]}? stackctl models --all lists them" if near else "stackctl models --all",
        )
    return found


def _flags(fit: fitting.Fit) -> list[str]:
    if fit.size.arch is None:
        return []
    words = [f"--max-model-len {fit.window}", f"--gpu-memory-utilization {fit.utilization:g}"]
    words.append(f"--max-num-seqs {fit.sequences}")
    if fit.tp > 1:
        words.append(f"--tensor-parallel-size {fit.tp}")
    if fit.pp > 1:
        words.append(f"--pipeline-parallel-size {fit.pp}")
    if fit.cache != "auto":
        words.append(f"--kv-cache-dtype {fit.cache}")
    if fit.eager:
        words.append("--enforce-eager")
    return [f"flags: {' '.join(words)}"]


def _row(advice: Advice, machine: Host) -> tuple[str, ...]:
    model, fit, variant = advice.found.model, advice.fit, advice.found.variant
    disk = f"{variant.weights_gb:.0f} GB"
    if fetch.cached(variant.id):
        disk = "here"
    elif machine.cache_free is not None and variant.weights_gb * 1e9 > machine.cache_free:
        disk += ", no room"
    licence = model.licence.name if model.licence else "see its card"
    if model.gated:
        licence += ", gated"
    if fit.refusal:
        return (variant.id, f"no: {fit.refusal}", "", "", _agent(model), disk, licence)
    if fit.size.arch is None:
        return (variant.id, "not computed", "", advice.speed, _agent(model), disk, licence)
    about = "" if fit.size.sure == "counted" else "about "
    small = " (small)" if fit.window < fitting.WARN else ""
    window = f"{about}{fit.window // 1024}k{small}"
    return (variant.id, window, f"{fit.conversations:.1f}", advice.speed, _agent(model), disk, licence)


def _agent(model: Model, *, source: bool = False) -> str:
    if model.agent is None:
        return "no result known"
    said = f"{model.agent.score:g}% of {model.agent.test}"
    return f"{said} ({model.agent.source})" if source else said


def _about(advice: Advice) -> dict[str, Any]:
    model, variant = advice.found.model, advice.found.variant
    agent = model.agent
    return {
        "model": model.id,
        "speed": advice.speed,
        "disk_gb": variant.weights_gb,
        "agent": {"score": agent.score, "test": agent.test, "source": agent.source} if agent else None,
        "licence": model.licence.name if model.licence else None,
        "gated": model.gated,
    }


def _model_data(model: Model) -> Any:
    import msgspec

    return msgspec.to_builtins(model)


def _aligned(rows: list[tuple[str, str, str]]) -> str:
    first, second = (max(len(row[index]) for row in rows) for index in (0, 1))
    return "".join(f"  {what:<{first}}  {much:>{second}}  {why}".rstrip() + "\n" for what, much, why in rows)
