"""Checks of whether the installed vLLM, on this hardware and as it is planned, can run the model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stackctl import sizes, vllm_registry
from stackctl.checks import answers, before, code, preflight_model
from stackctl.checks.modelfiles import models, whole
from stackctl.model import Status
from stackctl.plan.hardware import devices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl import checkpoint
    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_JUDGES = re.compile(
    r"For(?:Sequence|Token)Classification$|For(?:Process)?RewardModel$|ForMaskedLM$|ForQuestionAnswering$"
)
_CHOOSING = {"runner", "task", "convert", "hf-overrides"}  # arguments by which people say what a model is to be


def fits_plan(facts: Facts) -> Iterator[Finding]:
    """The files agree with the plan: the window, the weights, no code that nobody allowed."""
    for each in models.of(facts):
        if facts.prepared is None or each.checkpoint() is None:
            continue
        for found in (
            *preflight_model.on_disk(facts.prepared, each.engine, str(each.files)),
            *code.in_files(facts.prepared, each.engine, str(each.files)),
        ):
            if found.bad and not (facts.running and found.id == "memory"):
                yield before.named(found)


def precision(facts: Facts) -> Iterator[Finding]:
    """vLLM has kernels for this precision on the hardware that is here."""
    for each in models.of(facts):
        if each.files is None or facts.host is None or "quantization" in each.config.args:
            continue
        size = sizes.of_files(each.engine.model, each.files)
        here = devices(each.engine.host or facts.host, amd=each.config.python is not None)
        if size is None or not here or any(device.runs(size.precision) for device in here):
            continue
        device = here[0].name or "this processor"
        yield answers.finding(
            "model.quantisation", Status.FAIL, (f"{each.files}/config.json: {size.precision}", device),
            precision=size.precision, device=device, model=each.engine.model,
        )  # fmt: skip


def architecture(facts: Facts) -> Iterator[Finding]:
    """The installed vLLM has this kind of model, and it is one that writes."""
    for each in models.of(facts):
        found, tool = each.checkpoint(), each.engine.toolchain
        if found is None or found.mistral_format:
            continue
        if kind := _no_writer(each, found):
            yield answers.finding(
                "model.not-generative", Status.FAIL, (kind,), architecture=kind, model=each.engine.model
            )
            continue
        if not found.architectures:
            yield answers.finding("model.no-kind", Status.FAIL, (f"{each.files}/config.json",), model=each.engine.model)
            continue
        if tool is None or not tool.installed:
            continue
        known = vllm_registry.architectures(tool.site_packages)
        if known is None or found.needs_remote_code:
            continue
        writes, judges = known
        name = found.architectures[0]
        if not writes.isdisjoint(found.architectures):
            continue
        if judges.isdisjoint(found.architectures) and _transformers_writes(tool.site_packages, found.model_type, name):
            continue  # vLLM runs it through transformers
        other = "model.architecture" if judges.isdisjoint(found.architectures) else "model.not-generative"
        yield answers.finding(
            other,
            Status.FAIL,
            (f"architectures: {name}",),
            architecture=name,
            version=tool.version,
            model=each.engine.model,
        )


def method(facts: Facts) -> Iterator[Finding]:
    """The installed vLLM knows the method that the weights were quantised with."""
    for each in models.of(facts):
        tool = each.engine.toolchain
        if each.files is None or tool is None or not tool.installed:
            continue
        found, known = each.checkpoint(), vllm_registry.quantisations(tool.site_packages)
        if found is None or known is None or not found.quantization or found.quantization in known:
            continue
        yield answers.finding(
            "model.quantisation-unknown", Status.FAIL, (f"{each.files}/config.json: quant_method: {found.quantization}",),
            method=found.quantization, model=each.engine.model, version=tool.version,
        )  # fmt: skip


def _no_writer(model: models.Model, found: checkpoint.Checkpoint) -> str:
    """What a model is that writes no text, by its own files; empty where they do not say so."""
    if _CHOOSING & model.config.args.keys():
        return ""
    if judge := next((name for name in found.architectures if _JUDGES.search(name)), None):
        return judge
    if found.encoder_decoder:
        return f"{next(iter(found.architectures), found.model_type)}, an encoder-decoder"
    if pooling := whole.pooling(found.path):
        return f"modules.json: {pooling}"
    return ""


def _transformers_writes(places: tuple[str, ...], model_type: str, architecture: str) -> bool:
    writes = architecture.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel"))
    return writes and vllm_registry.transformers_has(places, model_type)
