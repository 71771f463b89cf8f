"""Facts from a local checkpoint directory, read from its small JSON files. No torch, no transformers, no network."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import Any

from stackctl import lookalike
from stackctl.errors import PreflightError

LARGEST_CONFIG = 32 * 1024 * 1024  # bytes; real ones have some KiB, the largest (with a quantisation list) a few MiB
_LARGEST_TEMPLATE = 4 * 1024 * 1024

# The keys that vLLM 0.32.0 looks at (transformers_utils/model_arch_config_convertor.py); the smallest counts.
_LENGTH_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# Where `factor` is already in max_position_embeddings (vllm/config/model.py, _get_and_verify_max_len).
_ALREADY_SCALED = frozenset({"su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling"})
_TEXT_CONFIGS = ("text_config", "llm_config", "language_config", "thinker_config")
_TOKENIZER_FILES = frozenset(
    {"tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "spiece.model", "tiktoken.model", "vocab.txt"}
)
_FORMATS = {".safetensors": "safetensors", ".bin": "bin", ".pt": "pt", ".pth": "pt", ".gguf": "gguf"}
_NOT_WEIGHTS = re.compile(r"training_args|optimizer|scheduler|rng_state|adapter_|tokenizer", re.IGNORECASE)
_SHARD = re.compile(r"^(?P<stem>.+)-(?P<n>\d{5,6})-of-(?P<of>\d{5,6})\.(?:safetensors|bin)$")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint's files say.

    `max_positions` is the largest window in tokens, None where nothing says it. `weight_bytes` counts the files of the
    format that vLLM would load (`weight_formats[0]`), `missing_shards` those that the names of the others promise.
    `chat_template` is the one for tools where there are several.
    """

    path: str
    architectures: tuple[str, ...]
    encoder_decoder: bool
    model_type: str
    max_positions: int | None
    quantization: str | None
    needs_remote_code: bool
    has_tokenizer: bool
    mistral_format: bool
    chat_template: str | None
    weight_formats: tuple[str, ...]
    weight_bytes: int
    missing_shards: int
    declared_names: tuple[str, ...]


def read(path: str) -> Checkpoint:
    """Read the checkpoint in the directory `path`; links (as in a hub cache) are followed.

    Raises PreflightError when there is no such directory, no config.json (or Mistral's params.json), or it cannot be
    read, is larger than 32 MiB, is not JSON, or not an object.
    """
    if not os.path.isdir(path):
        what, remedy = lookalike.file(path) or (
            "is not a directory" if os.path.lexists(path) else "does not exist",
            "name a directory with a config.json, or a hub id",
        )
        raise PreflightError(f"the model {path} {what}", remedy=remedy)
    files = _files(path)
    mistral = "params.json" in files and bool({"tekken.json", "tokenizer.model"} & set(files))
    config = _config(path, files)
    text = text_config(config)
    tokenizer = _optional_json(os.path.join(path, "tokenizer_config.json"))
    formats, total, missing = _weights(files)
    return Checkpoint(
        path=path,
        architectures=_strings(config.get("architectures")),
        encoder_decoder=config.get("is_encoder_decoder") is True,
        model_type=_string(config.get("model_type")) or "",
        max_positions=_max_positions(config, text),
        quantization=_quantization(config, text),
        needs_remote_code=bool(config.get("auto_map")),
        has_tokenizer=bool(_TOKENIZER_FILES & set(files)) or any(name.endswith(".tiktoken") for name in files),
        mistral_format=mistral,
        chat_template=_chat_template(path, tokenizer),
        weight_formats=formats,
        weight_bytes=total,
        missing_shards=missing,
        declared_names=_declared(config),
    )


def code_files(path: str) -> tuple[str, ...]:
    """The Python files that come with a checkpoint, sorted."""
    return tuple(sorted(name for name in _files(path) if name.endswith(".py")))


def code_digest(path: str) -> str:
    """A hash of the Python code that comes with a checkpoint: names and contents."""
    digest = hashlib.sha256()
    for name in code_files(path):
        with open(os.path.join(path, name), "rb") as stream:
            content = stream.read()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def declared_names(path: str) -> tuple[str, ...]:
    """The names that a checkpoint's config.json gives its model; empty when it has none or cannot be read."""
    return _declared(_optional_json(os.path.join(path, "config.json")))


def _files(path: str) -> dict[str, int]:
    """{name: bytes} of the files in a directory; a link whose target is gone (an interrupted download) is left out."""
    found: dict[str, int] = {}
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_file():
                    found[entry.name] = entry.stat().st_size
    except OSError as error:
        raise PreflightError(
            f"the model directory {path} cannot be read: {error.strerror}", remedy="check its permissions"
        ) from error
    return found


def _config(path: str, files: dict[str, int]) -> dict[str, Any]:
    name = "config.json" if "config.json" in files else "params.json"
    full = os.path.join(path, name)
    if name not in files:
        what, remedy = lookalike.directory(path, files) or (
            "has no config.json",
            "name the directory that holds config.json and the weights, or download the model again",
        )
        raise PreflightError(f"the model directory {path} {what}", remedy=remedy)
    try:
        with open(full, "rb") as stream:
            raw = stream.read(LARGEST_CONFIG + 1)
    except OSError as error:
        raise PreflightError(f"{full} cannot be read: {error.strerror}", remedy="check its permissions") from error
    if len(raw) > LARGEST_CONFIG:
        raise PreflightError(
            f"{full} is larger than 32 MiB", remedy="that is not a model's configuration: check the file"
        )
    again = "stackctl doctor --fix  fetches it again, where something says which model it is; or copy it again"
    try:
        data = json.loads(raw.decode())  # as UTF-8, and without a byte order mark: vLLM takes no other
    except (ValueError, RecursionError) as error:
        raise PreflightError(f"{full} is not JSON: {error}", remedy=again) from error
    if not isinstance(data, dict):
        raise PreflightError(f"{full} is not a JSON object", remedy=again)
    return data


def _optional_json(path: str, largest: int = LARGEST_CONFIG) -> dict[str, Any]:
    """A JSON object, or {} where there is none to be had: what it adds is optional."""
    try:
        with open(path, "rb") as stream:
            raw = stream.read(largest + 1)
        data = json.loads(raw) if len(raw) <= largest else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part that describes the language model: vision and audio models nest it, some twice."""
    for key in _TEXT_CONFIGS:
        nested = config.get(key)
        if isinstance(nested, dict):
            return text_config(nested)
    return config


def _max_positions(config: dict[str, Any], text: dict[str, Any]) -> int | None:
    found = [value for key in _LENGTH_KEYS if (value := _count(text.get(key)))]
    longest = min(found, default=None)
    if own := _count(text.get("model_max_length")):
        longest = own  # vLLM lets it win (Command R)
    factor = 1.0
    model_type = f"{config.get('model_type')} {text.get('model_type')}"
    for rope in _rope_parameters(text):
        kind = rope.get("rope_type") or rope.get("type") or "default"
        scale = rope.get("factor")
        if kind not in _ALREADY_SCALED and isinstance(scale, int | float) and scale > 0:
            factor = float(scale)
        original = _count(rope.get("original_max_position_embeddings"))
        if longest is None and original:
            return int(original * (scale if isinstance(scale, int | float) and scale > 0 else 1))
    if longest is None or factor == 1.0 or "gemma3" in model_type:
        return longest
    return int(longest * factor)


def _rope_parameters(text: dict[str, Any]) -> list[dict[str, Any]]:
    """RoPE settings under their old or new name, one for all layers or one for each kind of layer."""
    rope = text.get("rope_parameters") or text.get("rope_scaling")
    if not isinstance(rope, dict):
        return []
    nested = [value for value in rope.values() if isinstance(value, dict)]
    return nested or [rope]


_MLX = {"group_size", "bits"}  # all that mlx-lm's converter writes of its method, which only Apple's MLX reads


def _quantization(config: dict[str, Any], text: dict[str, Any]) -> str | None:
    for each in (config, text):
        for key in ("quantization_config", "compression_config"):
            settings = each.get(key)
            if isinstance(settings, dict):
                named = _string(settings.get("quant_method")) or _string(settings.get("quant_algo"))
                return named or ("mlx" if settings.keys() >= _MLX else "unknown")
        if isinstance(each.get("quantization"), dict) and each["quantization"].keys() >= _MLX:
            return "mlx"
    return None


def takes_tools(template: str) -> bool:
    """Whether a chat template looks at `tools` at all; a comment does not."""
    return re.search(r"\btools\b", re.sub(r"\{#.*?#\}", "", template, flags=re.DOTALL)) is not None


def _chat_template(path: str, tokenizer: dict[str, Any]) -> str | None:
    """chat_template.jinja wins, as in transformers; of several named ones, the one for tools."""
    try:
        with open(os.path.join(path, "chat_template.jinja"), encoding="utf-8", errors="replace") as stream:
            return stream.read(_LARGEST_TEMPLATE)
    except OSError:
        pass
    for source in (_optional_json(os.path.join(path, "chat_template.json")), tokenizer):
        template = source.get("chat_template")
        if isinstance(template, str):
            return template
        if isinstance(template, list):
            named = {each.get("name"): each.get("template") for each in template if isinstance(each, dict)}
            return _string(named.get("tool_use")) or _string(named.get("default"))
    return None


def _weights(files: dict[str, int]) -> tuple[tuple[str, ...], int, int]:
    """(formats in vLLM's order of preference, bytes of the first, shards of it that are missing)."""
    by_format: dict[str, dict[str, int]] = {}
    for name, size in files.items():
        kind = _FORMATS.get(os.path.splitext(name)[1].lower())
        if kind and not _NOT_WEIGHTS.search(name):
            by_format.setdefault(kind, {})[name] = size
    # Mistral ships the same weights twice: consolidated*.safetensors, and sharded for transformers.
    tensors = by_format.get("safetensors", {})
    if sharded := {name: size for name, size in tensors.items() if not name.startswith("consolidated")}:
        by_format["safetensors"] = sharded
    formats = tuple(kind for kind in ("safetensors", "bin", "pt", "gguf") if kind in by_format)
    if not formats:
        return (), 0, 0
    chosen = by_format[formats[0]]
    promised: dict[tuple[str, str], set[str]] = {}
    for name in chosen:
        if shard := _SHARD.match(name):
            promised.setdefault((shard["stem"], shard["of"]), set()).add(shard["n"])
    missing = sum(max(0, int(of) - len(have)) for (_, of), have in promised.items())
    return formats, sum(chosen.values()), missing


def _declared(config: dict[str, Any]) -> tuple[str, ...]:
    names = (_string(config.get(key)) for key in ("_name_or_path", "_model_name_or_path"))
    return tuple(name.rstrip("/") for name in names if name and name.strip("/"))


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**53 else None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()
