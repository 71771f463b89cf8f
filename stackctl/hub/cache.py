"""The hub's cache on disk, read without importing the hub's library (it takes half a second)."""

from __future__ import annotations

import json
import os
import re
from fnmatch import fnmatch

# Weights in other formats than safetensors. vLLM leaves just these (and pictures and the like) out of what it expects
# of an offline snapshot (transformers_utils/repo_utils.py, _WEIGHT_FILE_PATTERNS): to skip more would break its start.
OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.h5", "*.msgpack", "*.onnx", "*.onnx_data")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def cache_dir() -> str:
    """Where the hub's library keeps models, by HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME as it reads them."""
    default = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "huggingface")
    home = os.path.expandvars(os.environ.get("HF_HOME") or default)
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return os.path.abspath(os.path.expanduser(os.path.expandvars(named)))


def repo_dir(model_id: str) -> str:
    """The directory of one model in the cache."""
    return os.path.join(cache_dir(), "--".join(["models", *model_id.split("/")]))


def snapshot(model_id: str, revision: str | None = None) -> str | None:
    """The directory of a model's revision in the cache, whole or not, there or not; None where no commit is known."""
    repo = repo_dir(model_id)
    name = revision or "main"
    if _COMMIT.match(name):
        return os.path.join(repo, "snapshots", name)
    try:
        with open(os.path.join(repo, "refs", name), encoding="ascii") as stream:
            commit = stream.read().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return os.path.join(repo, "snapshots", commit) if _COMMIT.match(commit) else None


def cached(model_id: str, revision: str | None = None) -> str | None:
    """The directory of a model that is wholly in the cache, or None; no network, a few milliseconds."""
    place = snapshot(model_id, revision)
    return place if place is not None and not lacking(place) else None


def lacking(place: str) -> list[str]:
    """The files that a snapshot should have and that are not there; a link without its content counts as none."""
    repo, commit = os.path.dirname(os.path.dirname(place)), os.path.basename(place)
    names = _listed(os.path.join(repo, "trees", f"{commit}.json"))
    if names is None:  # downloaded by a library that kept no listing: what the weights' index names must be there
        names = _indexed(place)
    first = [] if os.path.isfile(os.path.join(place, "config.json")) else ["config.json"]
    return first + [
        name for name in wanted(names) if name not in first and not os.path.isfile(os.path.join(place, name))
    ]


def wanted(names: list[str]) -> list[str]:
    """The files of a repository that vLLM needs: other weights are left out where there are safetensors."""
    if not any(name.endswith(".safetensors") for name in names):
        return names
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in OTHER_WEIGHTS)]


def _listed(path: str) -> list[str] | None:
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return None
    entries = found.get("files") if isinstance(found, dict) else None
    return list(entries) if isinstance(entries, dict) else None


def _indexed(snapshot: str) -> list[str]:
    try:
        with open(os.path.join(snapshot, "model.safetensors.index.json"), encoding="utf-8") as stream:
            weights = json.load(stream)["weight_map"].values()
    except (OSError, ValueError, KeyError, AttributeError):
        return ["model.safetensors"]
    return [name for name in set(weights) if isinstance(name, str)]
