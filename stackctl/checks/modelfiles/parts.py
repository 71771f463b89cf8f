"""Checks of the model's files, from their small JSON parts and the headers of the weights."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stackctl import checkpoint, fetch, sizes, vllm_registry
from stackctl.catalog import families, registries
from stackctl.checks import answers, before, code, preflight
from stackctl.checks.check import Check, Hop
from stackctl.checks.modelfiles import whole
from stackctl.config import EMBEDDED
from stackctl.errors import PreflightError
from stackctl.model import Finding, Status
from stackctl.plan.hardware import devices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.config import EngineConfig
    from stackctl.plan import EnginePlan


@dataclass(frozen=True, slots=True)
class Model:
    """A model that vLLM serves here. `directory` is None for one that is not on this machine."""

    engine: EnginePlan
    config: EngineConfig
    directory: str | None

    @property
    def files(self) -> str | None:
        """Its directory, where its files are to be judged: the embedded one is made by us, and known."""
        return None if self.engine.model == EMBEDDED else self.directory


def models(facts: Facts) -> Iterator[Model]:
    """The models of ours; with `command:` or `url:` the files are not ours to judge."""
    prepared = facts.prepared
    for engine in prepared.plan.managed if prepared is not None else ():
        config = prepared.loaded.engines[engine.name] if prepared is not None else None
        if config is not None and not config.command:
            yield Model(engine, config, _directory(engine.model, config.revision))


def _directory(model: str, revision: str | None) -> str | None:
    if model == EMBEDDED:
        path = fetch.embedded_dir()
        return path if os.path.isdir(path) else None
    if fetch.is_local(model):
        return os.path.abspath(os.path.expanduser(model))
    return sizes.directory(model, revision)


def there(facts: Facts) -> Iterator[Finding]:
    """The model is on this machine, with configuration, tokenizer and weights."""
    for each in models(facts):
        if each.directory is None:
            why = f"{each.engine.model} is not on this machine yet: `stackctl up` fetches it"
            yield Finding("model.there", Status.SKIPPED, why, hop=Hop.MODEL)
            continue
        try:
            fetch.check_local(each.directory)
        except PreflightError as error:
            yield before.refused(error, "model.incomplete")


def shards(facts: Facts) -> Iterator[Finding]:
    """Every weight file that the index names is there, and as long as its own header says."""
    for each in models(facts):
        directory = each.directory
        if directory is None:
            continue
        bad = whole.weights(directory)
        if bad:
            yield whole.damaged(directory, bad)


def template(facts: Facts) -> Iterator[Finding]:
    """There is a chat template, the model's own or the one that was named, and it looks at tools."""
    for each in models(facts):
        found = _read(each.files)
        named = _named(each.config)
        given = any(word.startswith("--chat-template") for word in each.engine.argv)
        if found is None or (given and named is None) or found.mistral_format:
            continue
        words: dict[str, Any] = {"model": each.engine.model, "engine": each.engine.name}
        text, where = named or (found.chat_template, found.path)
        if text is None or not text.strip():
            yield answers.finding(
                "model.template", Status.FAIL, (where if text is None else f"{where}: it is empty",), **words
            )
        elif said := _spoilt(text):
            yield answers.finding("model.template-spoilt", Status.FAIL, (where, said), **words)
        elif not checkpoint.takes_tools(text):
            yield answers.finding("model.no-tools", Status.WARN, (where,), blocks=False, **words)


def _named(config: EngineConfig) -> tuple[str, str] | None:
    """The chat template that the configuration names, and its path; None for one that is not there, or no file."""
    path = config.args.get("chat-template")
    if not isinstance(path, str) or "{" in path or "\n" in path:
        return None
    try:
        with open(os.path.expanduser(path), encoding="utf-8", errors="replace") as stream:
            return stream.read(checkpoint.LARGEST_CONFIG), path
    except OSError:
        return None


def _read(directory: str | None) -> checkpoint.Checkpoint | None:
    """The checkpoint in a directory; None where there is none: `model.there` says it."""
    try:
        return checkpoint.read(directory) if directory is not None else None
    except PreflightError:
        return None


def _spoilt(text: str) -> str:
    """Why a chat template cannot be parsed; empty when it can. transformers' own tags count as known."""
    import jinja2

    try:
        jinja2.Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=True).parse(text)
    except jinja2.TemplateSyntaxError as error:
        return "" if "generation" in str(error.message) else f"line {error.lineno}: {error.message}"
    return ""


def fits_plan(facts: Facts) -> Iterator[Finding]:
    """The files agree with the plan: the window, the weights, no code that nobody allowed."""
    for each in models(facts):
        if facts.prepared is None or _read(each.files) is None:
            continue
        for found in (
            *preflight.on_disk(facts.prepared, each.engine, str(each.files)),
            *code.in_files(facts.prepared, each.engine, str(each.files)),
        ):
            if found.bad and not (facts.running and found.id == "memory"):
                yield before.named(found)


def quantisation(facts: Facts) -> Iterator[Finding]:
    """vLLM has kernels for this precision on the hardware that is here."""
    for each in models(facts):
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
    for each in models(facts):
        found, tool = _read(each.files), each.engine.toolchain
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


_JUDGES = re.compile(
    r"For(?:Sequence|Token)Classification$|For(?:Process)?RewardModel$|ForMaskedLM$|ForQuestionAnswering$"
)
_CHOOSING = {"runner", "task", "convert", "hf-overrides"}  # arguments by which people say what a model is to be


def _no_writer(model: Model, found: checkpoint.Checkpoint) -> str:
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


def tool_parser(facts: Facts) -> Iterator[Finding]:
    """The tool parser that is set is the one that reads this model's family."""
    for each in models(facts):
        set_one = each.config.args.get("tool-call-parser")
        if each.engine.model == EMBEDDED or not isinstance(set_one, str):
            continue
        family = families.match(each.engine.model)
        if family is None and (found := _read(each.files)) is not None and found.chat_template:
            family = families.from_template(found.chat_template)
        if family is None or not family.tool:
            continue
        if not registries.same(set_one, family.tool):
            status = Status.FAIL if family.confidence != "low" else Status.WARN
            yield answers.finding(
                "configuration.parser-other", status, (f"tool-call-parser: {set_one}", f"catalogue: {family.tool}"),
                parser=set_one, right=family.tool, model=each.engine.model, engine=each.engine.name, blocks=False,
            )  # fmt: skip


CHECKS = (
    Check("model.there", Hop.MODEL, "The model is here: configuration, tokenizer, weights.", there),
    Check("model.shards", Hop.MODEL, "Every weight file is there and whole.", shards, ("model.there",)),
    Check("model.template", Hop.MODEL, "The chat template is there and takes tools.", template, ("model.there",)),
    Check("model.plan", Hop.MODEL, "The window and the weights are what the plan says.", fits_plan, ("model.there",)),
    Check("model.precision", Hop.MODEL, "This hardware can compute the model's precision.", quantisation, ("model.there",)),
    Check("model.kind", Hop.MODEL, "This vLLM has this kind of model, and it writes.", architecture, ("model.there",)),
    Check("configuration.parser-family", Hop.CONFIG, "The tool parser that is set reads this family's format.", tool_parser, ("configuration.parsers",)),
)  # fmt: skip
