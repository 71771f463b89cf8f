"""Whether a model wants to run Python code of its own, and whether the user agreed to that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import checkpoint, fetch, own_code, sizes, trust, vllm_registry
from stackctl.config import EMBEDDED
from stackctl.errors import PreflightError
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.plan import EnginePlan
    from stackctl.planning import Prepared


def files(prepared: Prepared, engine: EnginePlan) -> str | None:
    """Where the files of an engine's model are; None where they are not here, or not stackctl's to load."""
    config = prepared.loaded.engines[engine.name]
    if not engine.managed or config.command or engine.model == EMBEDDED:
        return None
    return sizes.directory(engine.model, config.revision)


def here(prepared: Prepared) -> Iterator[Finding]:
    """No model whose files are here wants to run code of its own that nobody agreed to."""
    for engine in prepared.plan.managed:
        if directory := files(prepared, engine):
            yield from in_files(prepared, engine, directory)


def in_files(prepared: Prepared, engine: EnginePlan, directory: str) -> Iterator[Finding]:
    """The same for the files in `directory`; nothing is said before it is known which kinds of model vLLM has itself."""
    config = prepared.loaded.engines[engine.name]
    if config.trust_remote_code or (engine.toolchain is not None and not engine.toolchain.installed):
        return
    try:
        facts = checkpoint.read(directory)
    except PreflightError:
        return  # whoever loads it says why
    if not facts.needs_remote_code or _is_known(engine, facts.model_type):
        return
    revision = own_code.revision(engine.model, directory)
    if revision in trust.code_revisions(own_code.named(engine.model)):
        return
    at = "" if fetch.is_local(engine.model) else f"@{revision}"
    yield Finding(
        "model.code",
        Status.FAIL,
        f"{engine.model} brings its own Python code, which vLLM would run",
        tuple(os.path.join(directory, name) for name in checkpoint.code_files(directory)),
        remedy=f"read that code; if you trust it:  stackctl trust --code {engine.model}{at}"
        f"  (or, for whatever comes: engines.{engine.name}.trust_remote_code: true)",
    )


def _is_known(engine: EnginePlan, model_type: str) -> bool:
    """Whether the installed transformers has this kind of model itself: then what a checkpoint brings is not used.

    Many do bring code, from before their kind was known. (AutoConfig, 5.x: local code goes first unless it is told to
    trust; vLLM refuses what it cannot load without, so a wrong yes here runs nothing.)
    """
    return engine.toolchain is not None and vllm_registry.transformers_has(engine.toolchain.site_packages, model_type)
