"""Where the live questions go: the engines and gateways of a stack, of an address, or of a hand-written LiteLLM file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server that can be asked. `url` is without `/v1`, `model` the name to ask for, `window` in tokens.

    `served` is what the model is really called, `embedded` says that it is the smoke test that cannot use tools,
    `managed` that stackctl starts it, `hosted` that it is a provider's; `by` is what a gateway made by hand asks it with
    (LiteLLM's provider).
    """

    where: Literal["engine", "gateway"]
    name: str
    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    served: str = ""
    window: int | None = None
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    vision: bool = False
    embedded: bool = False
    managed: bool = False
    hosted: bool = False
    by: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """One route: the gateway in front (None for a bare engine) and the engine behind it (None for a hosted one)."""

    route: str
    engine: Endpoint | None
    gateway: Endpoint | None
