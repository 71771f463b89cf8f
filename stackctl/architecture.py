"""What a model's `config.json` says of its size: how much it keeps for each token and each conversation.

Standard library only. The numbers are those that vLLM 0.32.0 allocates by (vllm/v1/kv_cache_interface.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_TEXT_CONFIGS = ("text_config", "llm_config", "language_config", "thinker_config")
# Kinds of cache that are neither plain, windowed, latent (MLA), nor a constant state: vLLM sizes them in ways that
# config.json does not give away, so no sum is made for them.
_NOT_COMPUTED = (
    "deepseek_v4",
    "kimi_k3",
    "kimi_linear",
    "minimax_m3",
    "llama4",
    "gemma3n",
    "mimo_v2",
    "bailing",
    "hy_v4",
)


@dataclass(frozen=True, slots=True)
class Cache:
    """Layers that keep the same for each token.

    `values` are the numbers kept per token and layer over all of `heads` (key and value); tensor parallelism shares
    them out by head, and copies heads where there are more ranks. `window` is how many tokens back they look, 0 for all.
    """

    layers: int
    heads: int
    values: int
    window: int = 0


@dataclass(frozen=True, slots=True)
class Architecture:
    """The numbers that memory depends on.

    `full` are layers that keep every token, `sliding` those with a window. `state_bytes` is what linear attention or
    Mamba layers keep for a conversation however long it is, all layers and ranks together. `index_bytes` is what
    sparse attention keeps beside `full`, per token and layer, on every rank.
    """

    layers: int
    hidden: int
    heads: int
    vocab: int
    full: Cache
    sliding: Cache | None = None
    state_bytes: int = 0
    index_bytes: int = 0


def from_config(config: dict[str, Any]) -> Architecture | None:
    """The architecture that a `config.json` describes, or None for one whose cache cannot be computed from it."""
    text = _text(config)
    model_type = f"{config.get('model_type', '')} {text.get('model_type', '')}"
    if any(name in model_type for name in _NOT_COMPUTED):
        return None
    hidden, heads, vocab = (_number(text.get(key)) for key in ("hidden_size", "num_attention_heads", "vocab_size"))
    pattern = text.get("hybrid_override_pattern")
    kinds = _kinds(text)
    layers = len(pattern) if isinstance(pattern, str) else (_number(text.get("num_hidden_layers")) or len(kinds))
    if not (hidden and heads and vocab and layers):
        return None
    if isinstance(pattern, str):
        return _mamba(text, pattern, hidden, heads, vocab)
    if kinds and len(kinds) != layers:
        return None
    rank, rope = _number(text.get("kv_lora_rank")), _number(text.get("qk_rope_head_dim"))
    if rank and rope:
        # latent attention: one vector for all heads, and the indexer's 8-bit keys with a 32-bit scale
        index = _number(text.get("index_head_dim"))
        full = Cache(layers, 1, rank + rope)
        return Architecture(layers, hidden, heads, vocab, full, index_bytes=index + 4 if index else 0)
    kv = _number(text.get("num_key_value_heads")) or heads
    size = _number(text.get("head_dim")) or hidden // heads
    counted = {kind: kinds.count(kind) for kind in set(kinds)} or {"full_attention": layers}
    if set(counted) - {"full_attention", "sliding_attention", "linear_attention"}:
        return None
    full_kv = _number(text.get("num_global_key_value_heads")) or kv
    full_size = _number(text.get("global_head_dim")) or size
    windowed = counted.get("sliding_attention", 0)
    window = _number(text.get("sliding_window"))
    if windowed and not window:
        return None
    linear = counted.get("linear_attention", 0)
    state = _delta_net(text) if linear else 0
    if linear and not state:
        return None
    return Architecture(
        layers,
        hidden,
        heads,
        vocab,
        full=Cache(counted.get("full_attention", 0), full_kv, 2 * full_kv * full_size),
        sliding=Cache(windowed, kv, 2 * kv * size, window) if windowed else None,
        state_bytes=linear * state,
    )


def _text(config: dict[str, Any]) -> dict[str, Any]:
    for key in _TEXT_CONFIGS:
        if isinstance(config.get(key), dict):
            return _text(config[key])
    return config


def _kinds(text: dict[str, Any]) -> list[str]:
    """The kind of each layer, where they differ."""
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        return [str(kind) for kind in kinds]
    every, layers = _number(text.get("full_attention_interval")), _number(text.get("num_hidden_layers"))
    if every and text.get("linear_num_value_heads"):  # Qwen3-Next wrote it so
        return ["linear_attention" if (index + 1) % every else "full_attention" for index in range(layers)]
    return []


def _delta_net(text: dict[str, Any]) -> int:
    """Bytes of one gated delta net layer's state (MambaStateShapeCalculator.gated_delta_net_state_shape)."""
    keys, values, key, value, kernel = (
        _number(text.get(name))
        for name in (
            "linear_num_key_heads",
            "linear_num_value_heads",
            "linear_key_head_dim",
            "linear_value_head_dim",
            "linear_conv_kernel_dim",
        )
    )
    convolution = (2 * key * keys + value * values) * max(0, kernel - 1)
    return 2 * convolution + 4 * values * value * key  # the state is kept in 32 bits (mamba_ssm_dtype)


def _mamba(text: dict[str, Any], pattern: str, hidden: int, heads: int, vocab: int) -> Architecture | None:
    """Nemotron-H: `M` is a Mamba-2 layer, `*` attention, `E` and `-` keep nothing (mamba2_state_shape)."""
    inner, size, state, groups, kernel = (
        _number(text.get(name))
        for name in ("mamba_num_heads", "mamba_head_dim", "ssm_state_size", "n_groups", "conv_kernel")
    )
    kv, head = _number(text.get("num_key_value_heads")) or heads, _number(text.get("head_dim")) or hidden // heads
    if not (inner and size and state):
        return None
    convolution = (inner * size + 2 * groups * state) * max(0, kernel - 1)
    layer = 2 * convolution + 4 * inner * size * state
    full = Cache(pattern.count("*"), kv, 2 * kv * head)
    return Architecture(len(pattern), hidden, heads, vocab, full, state_bytes=pattern.count("M") * layer)


def _number(value: Any) -> int:
    """A positive whole number, or 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
