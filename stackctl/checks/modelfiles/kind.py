"""Checks of the model: its quantisation against the installed vLLM, its tokenizer, the hub's cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import checkpoint, fetch, vllm_registry
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.modelfiles import parts, whole
from stackctl.config import EMBEDDED
from stackctl.errors import PreflightError
from stackctl.hub.cache import lacking, repo_dir, snapshot
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding


def method(facts: Facts) -> Iterator[Finding]:
    """The installed vLLM knows the method that the weights were quantised with."""
    for each in parts.models(facts):
        tool = each.engine.toolchain
        if each.files is None or tool is None or not tool.installed:
            continue
        found, known = _read(each.files), vllm_registry.quantisations(tool.site_packages)
        if found is None or known is None or not found.quantization or found.quantization in known:
            continue
        yield answers.finding(
            "model.quantisation-unknown", Status.FAIL, (f"{each.files}/config.json: quant_method: {found.quantization}",),
            method=found.quantization, model=each.engine.model, version=tool.version,
        )  # fmt: skip


def texts(facts: Facts) -> Iterator[Finding]:
    """The tokenizer and what goes with it is whole."""
    for each in parts.models(facts):
        if each.files and (bad := whole.texts(each.files)):
            yield whole.damaged(each.files, bad)


def cached(facts: Facts) -> Iterator[Finding]:
    """What the hub's cache has of a model is whole, or can still be fetched."""
    for each in parts.models(facts):
        if each.engine.model != EMBEDDED and not fetch.is_local(each.engine.model) and each.directory is None:
            yield from _in_cache(facts, each.engine.model, each.config.revision)


def _in_cache(facts: Facts, model: str, revision: str | None) -> Iterator[Finding]:
    place = repo_dir(model)
    snapshots = _names(os.path.join(place, "snapshots"))
    halves = [name for name in _names(os.path.join(place, "blobs")) if name.endswith(".incomplete")]
    here = snapshot(model, revision)
    missing = lacking(here) if here is not None and os.path.isdir(here) else []
    unnamed = bool(snapshots) and (here is None or os.path.basename(here) not in snapshots)
    shown = [
        f"{name}: {'its content is gone' if os.path.islink(os.path.join(str(here), name)) else 'missing'}"
        for name in missing[:3]
    ]
    name = revision or "main"
    if unnamed and here is None:
        shown.append(f"refs/{name} is missing: nothing says that {snapshots[-1]} is it")
    elif unnamed:
        shown.append(f"refs/{name} names a snapshot that is not there (there is {snapshots[-1]})")
    shown += [f"{len(halves)} files are half there"] if halves else []
    if facts.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "on", "yes", "true"}:
        evidence = ("HF_HUB_OFFLINE is set", place, *shown)
        yield answers.finding(
            "model.unnamed" if unnamed else "model.offline",
            Status.FAIL,
            evidence,
            model=model,
            name=name,
            commit=snapshots[-1] if unnamed else "",
        )
    elif shown:
        yield answers.finding("model.cache", Status.WARN, (place, *shown), model=model, blocks=False)


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _read(place: str) -> checkpoint.Checkpoint | None:
    try:
        return checkpoint.read(place)
    except PreflightError:
        return None  # `model.there` says it


CHECKS = (
    Check("model.method", Hop.MODEL, "This vLLM knows how the weights were quantised.", method, ("model.there",)),
    Check("model.texts", Hop.MODEL, "The tokenizer can be read.", texts, ("model.there",)),
    Check("model.cache", Hop.MODEL, "What the hub's cache has of the model is whole.", cached),
)  # fmt: skip
