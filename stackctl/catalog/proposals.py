"""Which model to propose when none is named."""

from __future__ import annotations

from importlib import resources

import msgspec
import yaml


class Proposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model and the memory of a GPU, in GB (10^9 bytes), that its recipe asks for."""

    model: str
    minimum_gb: float
    source: str


def propose(memory: int) -> Proposal | None:
    """The best model for a GPU with `memory` bytes; None below the floor of every one that can code."""
    text = resources.files(__package__).joinpath("proposals.yaml").read_text(encoding="utf-8")
    rows = msgspec.convert(yaml.safe_load(text), list[Proposal])
    return next((row for row in rows if row.minimum_gb * 1e9 <= memory), None)
