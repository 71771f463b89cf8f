"""What must be true of the models before anything is started: they fit, their files agree, vLLM has their parsers."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

from stackctl import checkpoint, fetch, vllm_registry
from stackctl.config import EMBEDDED
from stackctl.host import GIB
from stackctl.model import Finding, Status
from stackctl.plan import EMBEDDED_MEMORY, advise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from stackctl.plan import EnginePlan
    from stackctl.plan.fit import Fit
    from stackctl.planning import Prepared
    from stackctl.toolchain import Toolchain


def memory(prepared: Prepared) -> Iterator[Finding]:
    """What the models need at the least is free, with what a display or a browser uses taken off."""
    managed = prepared.plan.managed
    embedded = sum(each.model == EMBEDDED for each in managed)
    if embedded:
        yield from _room(EMBEDDED_MEMORY * embedded, prepared.host.memory_available, "memory")
    for engine in managed:
        if engine.model != EMBEDDED and engine.fit is not None and engine.fit.refusal:
            yield _refused(prepared, engine, engine.fit)


def _refused(prepared: Prepared, engine: EnginePlan, fit: Fit) -> Finding:
    """What the planner's sum says against the model, with one that fits in its place."""
    host = engine.host or prepared.host
    best = advise.instead(fit.size.name, host, amd=prepared.loaded.engines[engine.name].python is not None)
    option = "--model " if engine is prepared.plan.engine else f"engines.{engine.name}.model: "
    instead = f"serve one that fits: {option}{best.found.variant.id}; " if best else f"{advise.NOTHING}; "
    forced = fit.size.arch is not None and fit.most and engine.window is None
    force = f", or take the small window: engines.{engine.name}.max_model_len: {fit.most}" if forced else ""
    where = "" if len(prepared.plan.managed) < 2 else f" in what the engine `{engine.name}` has of this machine"
    return Finding(
        "memory",
        Status.FAIL,
        f"{fit.size.name} does not fit{where}: {fit.refusal}",
        remedy=f"{instead}stackctl models explain {fit.size.name} shows the sum{force}",
    )


def _weights(prepared: Prepared, engine: EnginePlan, weights: int) -> Iterator[Finding]:
    """The weights alone (bytes on disk are about bytes in memory) fit where they are loaded."""
    host, args = engine.host or prepared.host, prepared.loaded.engines[engine.name].args
    if not host.gpus:
        yield from _room(weights, host.memory_available, "memory")
        return
    shares = 1
    for flag in ("tensor-parallel-size", "pipeline-parallel-size"):
        shares *= args[flag] if isinstance(args.get(flag), int) else 1
    largest = sorted((gpu.memory_free for gpu in host.gpus), reverse=True)[:shares]
    several = f" on {len(largest)} of {len(host.gpus)} GPUs" if len(host.gpus) > 1 else ""
    yield from _room(weights, sum(largest), f"GPU memory{several}")


def _room(need: int, free: int, where: str) -> Iterator[Finding]:
    """There is room for `need` bytes where `free` ones are."""
    if need > free:
        yield Finding(
            "memory",
            Status.FAIL,
            f"the model needs at least {need / GIB:.1f} GiB of {where} and {free / GIB:.1f} GiB are free",
            remedy="close what holds memory, or choose a smaller or quantised model",
        )


def files(prepared: Prepared) -> Iterator[Finding]:
    """A model on disk is whole, and its window is as long as asked."""
    for engine in prepared.plan.managed:
        if fetch.is_local(engine.model) and not prepared.loaded.engines[engine.name].command:
            directory = os.path.abspath(os.path.expanduser(engine.model))
            fetch.check_local(directory)
            yield from on_disk(prepared, engine, directory)


def on_disk(prepared: Prepared, engine: EnginePlan, directory: str) -> Iterator[Finding]:
    """What the files of a model say against the plan, before vLLM says it a minute later."""
    config = prepared.loaded.engines[engine.name]
    facts = checkpoint.read(directory)
    summed = engine.fit is not None and engine.fit.size.arch is not None  # more exactly than here
    if not summed and not {"cpu-offload-gb", "quantization"} & config.args.keys():
        yield from _weights(prepared, engine, facts.weight_bytes)
    most = facts.max_positions
    if most and engine.window and engine.window > most and "hf-overrides" not in config.args:
        yield Finding(
            "model.window",
            Status.FAIL,
            f"max_model_len is {engine.window} tokens and the model was made for {most}",
            remedy=f"set max_model_len: {most}, or auto",
        )


def parsers(prepared: Prepared) -> Iterator[Finding]:
    """The tool and reasoning parsers are ones that the installed vLLM has."""
    for engine in prepared.plan.managed:
        if engine.toolchain is not None and engine.toolchain.installed:
            yield from _parsers_of(engine, engine.toolchain, prepared.loaded.engines[engine.name].args)


def _parsers_of(engine: EnginePlan, tool: Toolchain, args: Mapping[str, Any]) -> Iterator[Finding]:
    places = tool.site_packages
    for flag, wanted, known in (
        ("tool-call-parser", engine.tool_parser, vllm_registry.tool_parsers(places)),
        ("reasoning-parser", engine.reasoning_parser, vllm_registry.reasoning_parsers(places)),
    ):
        if wanted is None or known is None or wanted in known or f"{flag.split('-')[0]}-parser-plugin" in args:
            continue
        near = difflib.get_close_matches(wanted, known, n=1)
        yield Finding(
            f"parser.{flag}", Status.FAIL, f"vLLM {tool.version} has no {flag} `{wanted}`",
            remedy=f"did you mean `{near[0]}`?" if near else f"it has: {', '.join(sorted(known))}",
        )  # fmt: skip
