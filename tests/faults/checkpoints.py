"""A small checkpoint as the hub gives it: Qwen's shape, a chat template with tools, weights of a few kilobytes."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

POSITIONS = 32768
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 256,
    "max_position_embeddings": POSITIONS,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": True,
    "transformers_version": "5.0.0",
}
TEMPLATE = (
    "{%- if tools %}{{ '<|im_start|>system\\n# Tools\\n<tools>' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
    '{{ \'</tools>\\nFor each call return <tool_call>\\n{"name": <name>, "arguments": <args>}\\n</tool_call><|im_end|>\\n\' }}'
    "{% endif %}{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}{{ message.content }}"
    "{% if message.tool_calls %}{% for call in message.tool_calls %}{{ '<tool_call>\\n' }}{{ call.function | tojson }}"
    "{{ '\\n</tool_call>' }}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
)


def make(directory: Path) -> Path:
    """A whole model in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "generation_config.json").write_text('{"eos_token_id": 2}')
    vocabulary = {chr(33 + number): number for number in range(90)}
    tokenizer = {"version": "1.0", "model": {"type": "BPE", "vocab": vocabulary, "merges": []}, "added_tokens": []}
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    words = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    (directory / "tokenizer_config.json").write_text(json.dumps(words | {"model_max_length": POSITIONS}))
    weights(directory / "model.safetensors")
    return directory


def sharded(directory: Path) -> Path:
    """The same with its weights in two files, large enough for the hub to store them apart."""
    make(directory)
    (directory / "model.safetensors").unlink()
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for tensor, name in shards.items():
        weights(directory / name, 1 << 21, tensor)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    return directory


def weights(file: Path, size: int = 4096, tensor: str = "model.embed_tokens.weight") -> None:
    """A safetensors file of one tensor of `size` bytes, all of them zero: no block of the disk."""
    header = json.dumps({tensor: {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}})
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header.encode())
        stream.truncate(stream.tell() + size)
