"""Models: the embedded default, models on disk, and models from the hub. Light: what downloads is imported when used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import checkpoint, lookalike
from stackctl.embedded import embedded, embedded_dir
from stackctl.errors import PreflightError
from stackctl.hub.cache import cached
from stackctl.hub.transfer import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.hub.download import Head

__all__ = ["Progress", "cached", "check_local", "embedded", "embedded_dir", "head", "is_local", "model"]


def is_local(name: str) -> bool:
    """Whether a model's name is a path and not a hub id: an existing directory, or written like a path."""
    return name.startswith(("/", "./", "../", "~")) or name in {".", ".."} or name.count("/") > 1 or os.path.isdir(name)


def check_local(path: str) -> None:
    """Raise PreflightError, naming what is missing, unless `path` is a whole model that vLLM can load safely."""
    full = os.path.abspath(os.path.expanduser(path))
    found = checkpoint.read(full)
    again = "stackctl doctor --fix  fetches it again, where something says which model it is; or name another directory"
    if not found.has_tokenizer:
        raise PreflightError(
            f"the model directory {full} has no tokenizer (tokenizer.json or tokenizer.model)", remedy=again
        )
    if not found.weight_formats:
        what, remedy = lookalike.no_weights(full) or ("has no weights (*.safetensors)", again)
        raise PreflightError(f"the model directory {full} {what}", remedy=remedy)
    if "safetensors" not in found.weight_formats:
        if "gguf" in found.weight_formats:
            raise PreflightError(
                f"the model directory {full} has only GGUF weights, which vLLM does not read",
                remedy="name the safetensors original",
            )
        raise PreflightError(
            f"the model directory {full} has only pickled weights, which can run code",
            remedy="name a model with safetensors weights",
        )
    if found.missing_shards:
        raise PreflightError(
            f"the model directory {full} lacks {found.missing_shards} of its weight files", remedy=again
        )


def model(model_id: str, *, revision: str | None, on_progress: Callable[[Progress], None]) -> str:
    """Have a hub model on this machine and return its directory; see `stackctl.hub.download.model`.

    Raises PreflightError when `model_id` is a path: a model on disk is not fetched.
    """
    if is_local(model_id):
        check_local(model_id)
        return os.path.abspath(os.path.expanduser(model_id))
    from stackctl.hub import download

    return download.model(model_id, revision=revision, on_progress=on_progress)


def head(model_id: str, *, revision: str | None) -> Head:
    """Have what a hub model says of itself, without its weights; see `stackctl.hub.download.head`."""
    from stackctl.hub import download

    return download.head(model_id, revision=revision)
