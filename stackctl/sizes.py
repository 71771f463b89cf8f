"""How large a model is: by the catalogue, or by the files of a checkpoint that is on this machine."""

from __future__ import annotations

import json
import os
from dataclasses import replace

from stackctl import architecture, checkpoint, fetch
from stackctl.catalog import models
from stackctl.errors import PreflightError
from stackctl.plan import advise
from stackctl.plan.fit import Size

# What `quant_method` in a config.json means for the kernels; one that can mean several is judged by its bits.
_METHODS = {
    "fp8": "fp8",
    "fbgemm_fp8": "fp8",
    "mxfp4": "mxfp4",
    "gpt_oss_mxfp4": "mxfp4",
    "awq": "int4",
    "gptq": "int4",
    "bitsandbytes": "int4",
}


def size_of(model: str, *, revision: str | None = None) -> Size | None:
    """The size of a hub id or a directory, or None for a hub id that is neither in the catalogue nor in the cache."""
    found = None if fetch.is_local(model) else models.find(model)
    path = directory(model, revision)
    if found is None:
        return of_files(model, path) if path else None
    size = advise.size(found)
    here = of_files(model, path) if path else None
    return replace(size, weights=here.weights) if here is not None and here.weights else size


def directory(model: str, revision: str | None = None) -> str | None:
    """Where the files of a model are on this machine; None for a hub id that is not (wholly) in the cache."""
    if fetch.is_local(model):
        path = os.path.abspath(os.path.expanduser(model))
        return path if os.path.isdir(path) else None
    return fetch.cached(model, revision)


def of_files(name: str, path: str, *, weights: int | None = None) -> Size | None:
    """The size of the checkpoint in a directory; None when it is not one (whoever loads it says why).

    `weights` are the bytes of those that are not there yet.
    """
    try:
        facts = checkpoint.read(path)
        with open(os.path.join(path, "config.json"), "rb") as stream:
            config = json.loads(stream.read(checkpoint.LARGEST_CONFIG))
    except (PreflightError, OSError, ValueError):
        return None
    arch = architecture.from_config(config) if isinstance(config, dict) else None
    return Size(
        name=name,
        precision=_precision(facts, config),
        weights=facts.weight_bytes if weights is None else weights,
        context=facts.max_positions or 0,
        arch=arch if facts.max_positions else None,
        vision=bool(config.get("vision_config")),
        why="its configuration does not describe its cache" if arch is None else "it does not say its longest window",
        source="config.json",
    )


def _precision(facts: checkpoint.Checkpoint, config: dict[str, object]) -> str:
    if facts.quantization is None:
        return "bf16"
    if facts.quantization in _METHODS:
        return _METHODS[facts.quantization]
    said = json.dumps(config.get("quantization_config") or config.get("compression_config") or {}).lower()
    for mark, precision in (("nvfp4", "nvfp4"), ("mxfp4", "mxfp4"), ('"num_bits": 4', "int4"), ("fp8", "fp8")):
        if mark in said:
            return precision
    if '"num_bits": 8' in said:
        return "fp8" if '"type": "float"' in said else "int8"
    return "bf16"
