"""Facts from checkpoint directories as they are found in the wild, and from broken ones."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import checkpoint
from stackctl.errors import PreflightError

if TYPE_CHECKING:
    from pathlib import Path

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "max_position_embeddings": 8192,
    "dtype": "bfloat16",
    "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
}


def model(path: Path, config: Any = None, **files: str | bytes) -> str:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(LLAMA if config is None else config))
    for name, content in files.items():
        raw = content.encode() if isinstance(content, str) else content
        (path / name.replace("__", "-").replace("_DOT_", ".")).write_bytes(raw)
    return str(path)


def test_an_ordinary_checkpoint(tmp_path: Path) -> None:
    path = model(
        tmp_path,
        {**LLAMA, "_name_or_path": "org/name"},
        tokenizer_DOT_json="{}",
        tokenizer_config_DOT_json=json.dumps({"chat_template": "{{ messages }}"}),
        model_DOT_safetensors=b"x" * 1000,
        training_args_DOT_bin=b"y" * 50,
    )
    found = checkpoint.read(path)
    assert found == checkpoint.Checkpoint(
        path=path,
        architectures=("LlamaForCausalLM",),
        encoder_decoder=False,
        model_type="llama",
        max_positions=8192,
        quantization=None,
        needs_remote_code=False,
        has_tokenizer=True,
        mistral_format=False,
        chat_template="{{ messages }}",
        weight_formats=("safetensors",),
        weight_bytes=1000,
        missing_shards=0,
        declared_names=("org/name",),
    )


def test_a_hub_cache_of_symlinks(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots"
    model(blobs, model_DOT_safetensors=b"x" * 77, tokenizer_DOT_model="t")
    snapshot.mkdir()
    for each in blobs.iterdir():
        (snapshot / each.name).symlink_to(each)
    (snapshot / "model-00002-of-00002.safetensors").symlink_to(tmp_path / "gone")
    found = checkpoint.read(str(snapshot))
    assert found.weight_bytes == 77
    assert found.has_tokenizer


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"max_position_embeddings": 131072}, 131072),
        ({"n_positions": 1024}, 1024),
        ({"seq_length": 32768, "max_position_embeddings": 65536}, 32768),
        ({"max_position_embeddings": 8192, "model_max_length": 131072}, 131072),
        ({"text_config": {"max_position_embeddings": 40960}, "max_position_embeddings": 5}, 40960),
        ({"thinker_config": {"text_config": {"max_position_embeddings": 32768}}}, 32768),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4.0}}, 16384),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "dynamic", "factor": 2}}, 8192),
        ({"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131072),
        ({"max_position_embeddings": 40960, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 40960),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}, 131072),
        ({"model_type": "gemma3_text", "max_position_embeddings": 131072, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}, 131072),
        ({"max_position_embeddings": 4096, "rope_parameters": {"full": {"rope_type": "linear", "factor": 2.0}, "sliding": {"rope_type": "default"}}}, 8192),
        ({"max_position_embeddings": 4096, "rope_scaling": None}, 4096),
        ({}, None),
        ({"max_position_embeddings": "many"}, None),
        ({"max_position_embeddings": True}, None),
        ({"max_position_embeddings": -1}, None),
        ({"max_position_embeddings": 1e300}, None),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": None}}, 4096),
    ],
)  # fmt: skip
def test_the_window_is_what_vllm_would_derive(tmp_path: Path, config: dict[str, Any], positions: int | None) -> None:
    assert checkpoint.read(model(tmp_path, config)).max_positions == positions


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq"),
        ({"quantization_config": {"quant_algo": "NVFP4"}}, "NVFP4"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ({"compression_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"quantization_config": {}}, "unknown"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "mlx"),
        ({"quantization_config": {"group_size": 64, "bits": 4, "mode": "affine"}}, "mlx"),
        ({"quantization_config": None}, None),
    ],
)
def test_the_quantisation_is_named(tmp_path: Path, config: dict[str, Any], method: str | None) -> None:
    assert checkpoint.read(model(tmp_path, config)).quantization == method


def test_code_of_the_models_own_is_seen(tmp_path: Path) -> None:
    assert checkpoint.read(model(tmp_path, {"auto_map": {"AutoModel": "modeling_x.X"}})).needs_remote_code


def test_of_several_templates_the_one_for_tools_counts_and_the_file_wins(tmp_path: Path) -> None:
    named = [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "{% for t in tools %}"}]
    path = model(tmp_path, tokenizer_config_DOT_json=json.dumps({"chat_template": named}))
    found = checkpoint.read(path)
    assert found.chat_template == "{% for t in tools %}"
    assert checkpoint.takes_tools(found.chat_template)
    assert not checkpoint.takes_tools("{{ messages }}")
    (tmp_path / "chat_template.jinja").write_text("from the file")
    assert checkpoint.read(path).chat_template == "from the file"


def test_no_tokenizer_no_template_no_weights(tmp_path: Path) -> None:
    found = checkpoint.read(model(tmp_path))
    assert not found.has_tokenizer
    assert found.chat_template is None
    assert (found.weight_formats, found.weight_bytes, found.missing_shards) == ((), 0, 0)


def test_weights_are_counted_once_in_the_format_that_is_loaded(tmp_path: Path) -> None:
    path = model(tmp_path, consolidated_DOT_safetensors=b"x" * 500, pytorch_model_DOT_bin=b"x" * 90)
    assert checkpoint.read(path).weight_bytes == 500
    for n in (1, 3):
        (tmp_path / f"model-0000{n}-of-00003.safetensors").write_bytes(b"x" * 10)
    found = checkpoint.read(path)
    assert found.weight_formats == ("safetensors", "bin")
    assert found.weight_bytes == 20
    assert found.missing_shards == 1


def test_a_checkpoint_in_mistrals_own_format(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps({"dim": 4096, "max_seq_len": 131072}))
    (tmp_path / "tekken.json").write_text("{}")
    found = checkpoint.read(str(tmp_path))
    assert found.mistral_format
    assert found.has_tokenizer
    assert found.max_positions == 131072


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b" " * (32 * 1024 * 1024 + 1), "larger than 32 MiB"),
    ],
    ids=["empty", "cut", "binary", "list", "deep", "large"],
)
def test_a_broken_config_is_a_preflight_error(tmp_path: Path, raw: bytes, what: str) -> None:
    (tmp_path / "config.json").write_bytes(raw)
    with pytest.raises(PreflightError, match=what) as error:
        checkpoint.read(str(tmp_path))
    assert error.value.remedy
    assert str(tmp_path) in error.value.message
    assert checkpoint.declared_names(str(tmp_path)) == ()


def test_no_config_no_directory_and_a_file_are_preflight_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, what in (
        (tmp_path, "has no config.json"),
        (tmp_path / "none", "does not exist"),
        (tmp_path / "file", "is not a directory"),
    ):
        with pytest.raises(PreflightError, match=what):
            checkpoint.read(str(path))


def test_a_config_that_may_not_be_read_is_a_preflight_error(tmp_path: Path) -> None:
    path = model(tmp_path / "m")
    (tmp_path / "m").chmod(0o755)
    (tmp_path / "m" / "config.json").chmod(0)
    script = (
        "import os, sys\n"
        "from stackctl import checkpoint\n"
        "from stackctl.errors import PreflightError\n"
        "os.chdir(sys.argv[1])\n"  # root would be allowed to read anything, and another user not to come this far
        "if os.geteuid() == 0:\n    os.setuid(65534)\n"
        "try:\n    checkpoint.read('.')\n"
        "except PreflightError as error:\n    print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=60, check=True)
    assert "cannot be read" in done.stdout


def test_odd_values_do_not_break_it(tmp_path: Path) -> None:
    config = {
        "architectures": "x",
        "model_type": 7,
        "auto_map": [],
        "text_config": [],
        "rope_scaling": "x",
        "_name_or_path": "/",
    }
    found = checkpoint.read(model(tmp_path, config, tokenizer_config_DOT_json="[]"))
    assert found.architectures == ()  # vLLM takes only a list
    assert found.model_type == ""
    assert found.declared_names == ()


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys\n"
        "from stackctl import checkpoint, progress, vllm_registry\n"
        "from stackctl.catalog import families, symptoms\n"
        "print(sorted({'yaml', 'torch', 'transformers', 'vllm', 'huggingface_hub', 'jinja2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
