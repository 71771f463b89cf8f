"""Which models are known, how large they are and how good as agents (models.yaml)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

import msgspec

from stackctl import catalog
from stackctl.architecture import Architecture  # noqa: TC001 - msgspec resolves it

Precision = Literal["bf16", "fp8", "mxfp8", "int8", "int4", "nvfp4", "mxfp4"]

# Bytes for one quantised parameter with its scales: block-wise FP8 has one 32-bit scale for 128x128, NVFP4 one 8-bit
# scale for 16, MXFP4 one for 32, AWQ and GPTQ about 20 bits for 128.
BYTES: dict[str, float] = {
    "bf16": 2.0,
    "fp8": 1.002,
    "mxfp8": 1.04,
    "int8": 1.002,
    "int4": 0.52,
    "nvfp4": 0.5625,
    "mxfp4": 0.53125,
}
# How re-uploads write the precision into their names; the first that is found counts.
_SUFFIXES: tuple[tuple[str, Precision], ...] = (
    ("nvfp4", "nvfp4"),
    ("mxfp4", "mxfp4"),
    ("mxfp8", "mxfp8"),
    ("fp8", "fp8"),
    ("w8a8", "int8"),
    ("int8", "int8"),
    ("w4a16", "int4"),
    ("awq", "int4"),
    ("gptq", "int4"),
    ("int4", "int4"),
    ("4bit", "int4"),
)


class Licence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A licence, and who says so."""

    name: str
    source: str


class Agent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published result as an agent; of other tests than SWE-bench Verified they do not compare with those."""

    score: float
    test: str
    source: str


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One set of files: `weights_gb` and the recipe's `minimum_gb` in 10^9 bytes; `guessed` for an unlisted re-upload.

    On one GPU with less than `eager_under_gb`, capturing CUDA graphs is known to fail.
    """

    id: str
    precision: Precision
    weights_gb: float
    minimum_gb: float | None = None
    eager_under_gb: float = 0.0
    guessed: bool = False


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row; the meaning of each field stands at the head of models.yaml."""

    id: str
    params: float | None = None
    kept: float | None = None
    active: float | None = None
    context: int
    vision: bool = False
    gated: bool = False
    licence: Licence | None = None
    arch: Architecture | None = None
    arch_source: str = ""
    arch_confidence: Literal["high", "medium"] = "high"
    no_arch: str = ""
    variants: tuple[Variant, ...]
    source: str
    agent: Agent | None = None


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    models: tuple[Model, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A model and the one of its variants that a name means."""

    model: Model
    variant: Variant


@cache
def table() -> tuple[Model, ...]:
    """All of models.yaml, read once."""
    return catalog.load("models.yaml", _Table).models


def find(name: str) -> Found | None:
    """What a hub id means: a variant of the catalogue, or a re-upload of one of its models; None when unknown.

    Case is ignored. A re-upload (`unsloth/...`, `...-AWQ`) is known by the part after the slash: the model's own name,
    with nothing behind it but a precision. Its weights are computed, not counted.
    """
    lowered = name.lower()
    last = lowered.rsplit("/", 1)[-1]
    listed = [(model, variant) for model in table() for variant in model.variants]
    for model, variant in listed:
        if variant.id.lower() == lowered:
            return Found(model, variant)
    for model, variant in listed:
        if variant.id.lower().rsplit("/", 1)[-1] == last:
            return Found(model, variant)
    for model in sorted(table(), key=lambda each: -len(each.id)):
        base = re.sub(r"-(bf16|fp8)$", "", model.id.lower().rsplit("/", 1)[-1])
        if not last.startswith(base):
            continue
        rest = last[len(base) :]
        precision = _precision(rest)
        if precision is not None and model.params is not None and model.kept is not None:
            size = (model.params - model.kept) * BYTES[precision] + model.kept * 2
            return Found(model, Variant(name, precision, round(size, 1), guessed=True))
    return None


def names() -> tuple[str, ...]:
    """Every id of every variant."""
    return tuple(dict.fromkeys(variant.id for model in table() for variant in model.variants))


def _precision(rest: str) -> Precision | None:
    """The precision that what follows a model's name says; None when it says anything else (`-Base`, `-Thinking`)."""
    if not rest:
        return "bf16"
    words = [word for word in re.split(r"[-_.]", rest) if word]
    plain = {"dynamic", "block", "ct", "qat", "quantized", "a8w8", "w4a4", "bnb", "g128", "instruct", "it"}
    for suffix, precision in _SUFFIXES:
        if any(suffix in word for word in words):
            others = [word for word in words if not any(each in word for each, _ in _SUFFIXES) and word not in plain]
            return precision if not others else None
    return None
