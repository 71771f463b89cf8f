"""Turn the GGUF of the embedded model into the safetensors that vLLM reads; run by path, in the engine's Python.

    python convert_embedded.py GGUF_PACKAGE_DIR OUTPUT_DIR

Needs torch and transformers (the engine's own) and gguf and accelerate (on PYTHONPATH). No network: the caller sets
HF_HUB_OFFLINE=1. The 4-bit weights are dequantized to bfloat16, so the size is that of the original model.
"""

import sys
from pathlib import Path


def main(source: str, target: str) -> None:
    """Convert the one .gguf file in `source` and write a model directory to `target`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    (gguf,) = Path(source).glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if model.config.model_type != "llama" or model.config.vocab_size != len(tokenizer):
        sys.exit(f"this is not SmolLM2: {model.config.model_type}, {model.config.vocab_size} tokens")
    model.save_pretrained(target, safe_serialization=True)
    tokenizer.save_pretrained(target)
    print(f"converted {model.num_parameters()} parameters")  # noqa: T201 - a program of its own


if __name__ == "__main__":
    main(*sys.argv[1:])
