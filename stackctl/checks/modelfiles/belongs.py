"""Whether a checkpoint's config.json is that of its weights, by the names and shapes in their headers; no tensor is read."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from stackctl import checkpoint
from stackctl.checks import answers
from stackctl.checks.modelfiles import models, whole
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

# Of the language model alone: towers for images and sound have layers of their own.
_INSIDE = r"(?:(?:model|language_model|transformer)\.)*"
_WORDS = re.compile(rf"{_INSIDE}embed_tokens\.weight")
_LAYER = re.compile(rf"{_INSIDE}layers\.(\d+)\..+")
_PLAIN = {"F16", "BF16", "F32"}  # a packed table has another shape
_APART = ("word_embed_proj_dim", "embedding_size")  # models whose table is not as wide as their layers


def belongs(facts: Facts) -> Iterator[Finding]:
    """The sizes in config.json are those of the weights."""
    for each in models.of(facts):
        if each.files is None or "hf-overrides" in each.config.args:
            continue
        try:
            with open(os.path.join(each.files, "config.json"), "rb") as stream:
                said = checkpoint.text_config(json.loads(stream.read(checkpoint.LARGEST_CONFIG)))
        except (OSError, ValueError, AttributeError):
            continue  # `model.there` says that
        odd = list(_odd(said, whole.tensors(each.files)))
        if odd:
            yield answers.finding(
                "model.foreign-config",
                Status.FAIL,
                [f"{each.files}/config.json: {one}" for one in odd],
                model=each.engine.model,
                first=odd[0],
            )


def _odd(said: Mapping[str, Any], tensors: Mapping[str, Any]) -> Iterator[str]:
    """What config.json says and the weights do not bear out. More layers than it says may be there: they help to guess ahead."""
    tables = [each for name, each in tensors.items() if _WORDS.fullmatch(name) and each.get("dtype") in _PLAIN]
    shape = tables[0].get("shape") if len(tables) == 1 else None
    width, words, layers = said.get("hidden_size"), said.get("vocab_size"), said.get("num_hidden_layers")
    if isinstance(shape, list) and len(shape) == 2 and not any(name in said for name in _APART):
        if isinstance(width, int) and shape[1] != width:
            yield f"hidden_size: {width}, and the weights have {shape[1]}"
        elif isinstance(words, int) and not words <= shape[0] < 2 * words:
            yield f"vocab_size: {words}, and the weights have {shape[0]}"
    there = {int(found[1]) for name in tensors if (found := _LAYER.fullmatch(name))}
    if there and isinstance(layers, int) and (missing := set(range(layers)) - there):
        yield f"num_hidden_layers: {layers}, and the weights lack {len(missing)} of them"
