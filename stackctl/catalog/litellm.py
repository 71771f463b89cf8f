"""What LiteLLM takes in its configuration (litellm.yaml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from stackctl import catalog


class LiteLLM(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """litellm.yaml as a whole; what each list holds is said there. Keys of the mappings are sections."""

    schema: Literal[1]
    sections: tuple[str, ...]
    settings: dict[str, tuple[str, ...]]
    params: tuple[str, ...]
    alike: frozenset[str]
    numbers: dict[str, tuple[str, ...]]
    row_numbers: tuple[str, ...]
    routing_strategies: tuple[str, ...]
    licensed: dict[str, tuple[str, ...]]
    services: frozenset[str]
    providers: frozenset[str]


@cache
def known() -> LiteLLM:
    """All of it, read once."""
    return catalog.load("litellm.yaml", LiteLLM)
