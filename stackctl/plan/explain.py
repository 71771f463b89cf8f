"""The planner's sum as rows for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackctl.host import GIB
from stackctl.plan import memory

if TYPE_CHECKING:
    from stackctl.plan.fit import Fit

SURE = {
    "counted": "counted from the model's own configuration; vLLM may report a few percent more or less",
    "estimated": "estimated: some of the numbers are another checkpoint's, or follow from its name",
    "unknown": "not summed: what this model keeps for a token is not known",
}


def rows(fit: Fit) -> list[tuple[str, str, str]]:
    """(what, how much, why) of each GPU's memory, then what comes of it."""
    if fit.working is None or fit.size.arch is None or not fit.used:
        return []
    size, arch, device = fit.size, fit.size.arch, min(fit.used, key=lambda each: each.free / each.total)
    group = fit.tp * fit.pp
    shared = f", shared by {group} GPUs" if group > 1 else ""
    free = f"{_gib(device.free)} of {_gib(device.total)} GiB free on {device.name}"
    found = [
        ("vLLM may use", _gib(fit.budget), f"{fit.utilization:g} of the memory: {free}"),
        ("weights", _gib(fit.weights), f"{size.weights / 1e9:.1f} GB of {size.precision} files{shared}"),
        ("runtime", _gib(fit.working.runtime), "the libraries' own"),
    ]
    if fit.working.together:
        found.append(("exchange", _gib(fit.working.together), "buffers between the GPUs"))
    found.append(("activations", _gib(fit.working.activations), f"a batch of {fit.batch} tokens"))
    found.append(("sampling", _gib(fit.working.sampling), f"{fit.sequences} sequences at once"))
    if fit.working.vision:
        found.append(("images", _gib(fit.working.vision), "the vision tower at work"))
    if fit.working.graphs:
        found.append(("CUDA graphs", _gib(fit.working.graphs), "and as much again outside of vLLM's share"))
    found.append(("left for conversations", _gib(fit.pool), f"less {1 - memory.USABLE:.0%} for whole blocks"))
    if not fit.window:
        return found
    value = 1 if fit.cache.startswith("fp8") else 2
    one = memory.conversation(arch, fit.window, tp=fit.tp, pp=fit.pp, value=value, batch=fit.batch)
    layers = f"{arch.full.layers} of {arch.layers} layers keep every token" if arch.full.layers < arch.layers else ""
    found.append(("one conversation", _gib(one), layers or f"{arch.layers} layers, {value * 8} bits a number"))
    many = f"of {size.context} that it was made for; {fit.conversations:.1f} of them at once"
    found.append(("window", f"{fit.window} tokens", many))
    return found


def as_data(fit: Fit) -> dict[str, Any]:
    """The plan of a model for --json; bytes."""
    working = fit.working
    return {
        "id": fit.size.name,
        "precision": fit.size.precision,
        "fits": not fit.refusal,
        "refusal": fit.refusal,
        "sure": fit.size.sure,
        "window": fit.window or None,
        "context": fit.size.context,
        "conversations": round(fit.conversations, 2),
        "tensor_parallel": fit.tp,
        "pipeline_parallel": fit.pp,
        "gpu_memory_utilization": fit.utilization,
        "kv_cache_dtype": fit.cache,
        "enforce_eager": fit.eager,
        "max_num_seqs": fit.sequences,
        "devices": [device.index for device in fit.used],
        "bytes": {
            "budget": fit.budget,
            "weights": fit.weights,
            "working": working.total if working else 0,
            "pool": fit.pool,
        },
        "notes": list(fit.notes),
    }


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"
