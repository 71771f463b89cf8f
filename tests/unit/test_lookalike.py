"""What people name as a model and is not one's directory: each is told by what it is, and with what to name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import fetch
from stackctl.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADAPTER = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "acme/base"})


def whole(at: Path) -> Path:
    at.mkdir(parents=True, exist_ok=True)
    (at / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    (at / "tokenizer.json").write_text("{}")
    (at / "model.safetensors").write_bytes(b"x")
    return at


def said(path: Path) -> str:
    with pytest.raises(PreflightError) as caught:
        fetch.check_local(str(path))
    return f"{caught.value.message} -> {caught.value.remedy}"


def adapter(at: Path) -> Path:
    at.mkdir()
    (at / "adapter_config.json").write_text(ADAPTER)
    (at / "adapter_model.safetensors").write_bytes(b"x")
    return at


def adapter_with_config(at: Path) -> Path:
    whole(at)
    (at / "model.safetensors").rename(at / "adapter_model.safetensors")
    (at / "adapter_config.json").write_text(ADAPTER)
    return at


def cache_root(at: Path) -> Path:
    repo = at / "models--acme--tiny"
    whole(repo / "snapshots" / ("a" * 40))
    return repo


def snapshots(at: Path) -> Path:
    return cache_root(at) / "snapshots"


def nested(at: Path) -> Path:
    whole(at / "Qwen3-8B")
    return at


def several(at: Path) -> Path:
    whole(at / "checkpoint-500")
    whole(at / "checkpoint-1000")
    return at


def renamed(at: Path) -> Path:
    (whole(at) / "config.json").rename(at / "config (1).json")
    return at


def dangling(at: Path) -> Path:
    (whole(at) / "model.safetensors").unlink()
    (at / "model.safetensors").symlink_to("../blobs/gone")
    return at


def half(at: Path) -> Path:
    (whole(at) / "model.safetensors").unlink()
    (at / ".cache" / "huggingface" / "download").mkdir(parents=True)
    (at / ".cache" / "huggingface" / "download" / "x.incomplete").write_bytes(b"x")
    return at


def training(at: Path) -> Path:
    (whole(at) / "model.safetensors").unlink()
    (at / "global_step100").mkdir()
    return at


def onnx(at: Path) -> Path:
    (whole(at) / "model.safetensors").rename(at / "model.onnx")
    return at


def gguf(at: Path) -> Path:
    at.mkdir()
    (at / "q4.gguf").write_bytes(b"GGUF")
    return at


def gguf_file(at: Path) -> Path:
    return gguf(at) / "q4.gguf"


def one_file(at: Path) -> Path:
    return whole(at) / "model.safetensors"


def lost_link(at: Path) -> Path:
    at.symlink_to("/nowhere/at/all")
    return at


def pictures(at: Path) -> Path:
    at.mkdir()
    (at / "model_index.json").write_text("{}")
    return at


def marked(at: Path) -> Path:
    whole(at)
    (at / "config.json").write_bytes(b"\xef\xbb\xbf{}")
    return at


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (adapter, ["LoRA adapter for acme/base", "lora-modules"]),
        (adapter_with_config, ["LoRA adapter for acme/base"]),
        (cache_root, ["the hub's cache of acme/tiny", "model: acme/tiny", "snapshots/aaaa"]),
        (snapshots, ["the hub's cache of acme/tiny"]),
        (nested, ["the model is in", "/Qwen3-8B"]),
        (several, ["has 2 models in it", "checkpoint-1000"]),
        (renamed, ["config (1).json", "mv "]),
        (dangling, ["content is gone (model.safetensors)"]),
        (half, ["its download was cut off"]),
        (training, ["DeepSpeed", "zero_to_fp32.py"]),
        (onnx, ["only ONNX"]),
        (gguf, ["only GGUF"]),
        (gguf_file, ["a GGUF file"]),
        (one_file, ["one file of a model"]),
        (lost_link, ["a link to /nowhere/at/all"]),
        (pictures, ["makes pictures"]),
        (marked, ["not JSON", "BOM"]),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_is_named_by_mistake_is_told(tmp_path: Path, make: Callable[[Path], Path], words: list[str]) -> None:
    text = said(make(tmp_path / "model"))
    assert not [word for word in words if word not in text], text


def test_an_empty_directory_has_no_configuration(tmp_path: Path) -> None:
    assert "has no config.json" in said(tmp_path)


@pytest.mark.parametrize(
    "beside", ["adapter_config.json", "model_index.json", "q4.gguf", "config (1).json", "model.onnx"]
)
def test_a_whole_model_may_have_any_of_that_beside_it(tmp_path: Path, beside: str) -> None:
    (whole(tmp_path) / beside).write_text(ADAPTER)
    whole(tmp_path / "checkpoint-500")
    fetch.check_local(str(tmp_path))


def test_a_broken_adapter_is_still_one(tmp_path: Path) -> None:
    broken: Any = adapter(tmp_path / "lora") / "adapter_config.json"
    broken.write_text("[")
    assert "LoRA adapter for its base model" in said(tmp_path / "lora")
