"""What a path is that was named as a model and is not one's directory: what people name by mistake, and what to name."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

_PLACES = 200  # directories that are looked into
_LARGEST = 1 << 20  # bytes of a JSON file
_ONE_FILE = (".safetensors", ".bin", ".json", ".jinja", ".pt", ".pth")


def file(path: str) -> tuple[str, str] | None:
    """(what a path is that is no directory, what to name instead), or None where nothing better is known."""
    if os.path.islink(path) and not os.path.exists(path):
        return f"is a link to {os.readlink(path)}, which is not there", "link it anew, or name the directory itself"
    if path.lower().endswith(".gguf"):
        return "is a GGUF file, which vLLM does not read by itself", "name the safetensors original"
    if os.path.isfile(path) and path.lower().endswith(_ONE_FILE):
        return "is one file of a model", f"name its directory: {os.path.dirname(path)}"
    return None


def directory(path: str, files: Collection[str]) -> tuple[str, str] | None:
    """The same for a directory without config.json, or without weights; `files` are the names of those in it."""
    if "adapter_config.json" in files:
        return _adapter(path)
    if "model_index.json" in files:
        return "is a pipeline of diffusers, which makes pictures", "name a language model"
    if renamed := next((name for name in sorted(files) if _is_config(name)), None):
        return (
            f"has its config.json as {renamed!r}",
            f"mv {os.path.join(path, renamed)!r} {os.path.join(path, 'config.json')!r}",
        )
    if inside := _models_in(path):
        return _around(path, inside)
    if any(name.lower().endswith(".gguf") for name in files):
        return "has only GGUF weights, which vLLM does not read", "name the safetensors original"
    return None


def no_weights(path: str) -> tuple[str, str] | None:
    """The same for one that has a configuration and no weights."""
    files = {name for name in _names(path) if os.path.isfile(os.path.join(path, name))}
    fetch = "stackctl models pull NAME  fetches a model of the hub; or copy the directory again"
    if "adapter_config.json" in files:
        return _adapter(path)
    if gone := [name for name in _names(path) if os.path.islink(os.path.join(path, name)) and name not in files]:
        return f"has links whose content is gone ({', '.join(gone[:3])}), and no weights (*.safetensors)", fetch
    if any(name.endswith(".incomplete") for name in _names(os.path.join(path, ".cache", "huggingface", "download"))):
        return (
            "has no weights (*.safetensors): its download was cut off",
            f"hf download NAME --local-dir {path}  goes on with it",
        )
    if any(name.startswith("global_step") for name in _names(path)):
        return (
            "has no weights (*.safetensors), only a training's checkpoint of DeepSpeed",
            f"python {os.path.join(path, 'zero_to_fp32.py')} {path} {path} --safe_serialization  makes them",
        )
    if "model.onnx" in files or os.path.isdir(os.path.join(path, "onnx")):
        return "has only ONNX weights, which vLLM does not read", "name the safetensors original"
    return None


def _adapter(path: str) -> tuple[str, str]:
    base = _json(os.path.join(path, "adapter_config.json")).get("base_model_name_or_path")
    known = base if isinstance(base, str) and base else "its base model"
    return (
        f"is a LoRA adapter for {known}, not a whole model",
        f"engines.NAME: {{model: {known}, args: {{enable-lora: true, lora-modules: my-lora={path}}}}}, or merge it into its base",
    )


def _around(path: str, inside: list[str]) -> tuple[str, str]:
    """A directory that has models in it: the hub's cache of one, or where somebody keeps several."""
    parts = next((part for part in reversed(path.split(os.sep)[-3:]) if part.startswith("models--")), None)
    if parts is not None:
        return (
            f"is the hub's cache of {_hub_name(parts)}, not the model itself",
            f"model: {_hub_name(parts)}, or {inside[-1]}",
        )
    if len(inside) == 1:
        return f"has no config.json; the model is in {inside[0]}", f"model: {inside[0]}"
    return f"has {len(inside)} models in it, and is none", f"name one of them, such as {inside[-1]}"


def _hub_name(directory: str) -> str:
    return directory.removeprefix("models--").replace("--", "/")


def _models_in(path: str) -> list[str]:
    """Directories with a config.json: one below, or below `snapshots`."""
    places = [os.path.join(path, name) for name in _names(path)[:_PLACES]]
    places += [os.path.join(path, "snapshots", name) for name in _names(os.path.join(path, "snapshots"))[:_PLACES]]
    return sorted((each for each in places if os.path.isfile(os.path.join(each, "config.json"))), key=_age)


def _age(path: str) -> tuple[float, str]:
    return os.path.getmtime(path), path


def _is_config(name: str) -> bool:
    """`Config.json`, or what a browser makes of a name that is taken: `config (1).json`."""
    stem, dot, kind = name.lower().rpartition(".")
    return (
        bool(dot)
        and kind == "json"
        and (stem == "config" or stem.startswith(("config (", "config-copy", "config copy")))
    )


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _json(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            found = json.loads(stream.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
