"""The shape of `stack.yaml`, and what a reading of it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from stackctl.names import DEFAULT_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.model import Fact

EMBEDDED = "embedded"
CLIENT_MODEL = "claude-local"  # honest and still discoverable: Claude Code's /model lists ids that contain "claude"
DEFAULT_ROUTE = "default"
TIERS = ("opus", "sonnet", "haiku", "fable", "subagent", "background")  # what Claude Code asks for by kind of work

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Tokens = Annotated[int, msgspec.Meta(ge=1)]


class EngineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One engine: `model` makes it managed, `url` says that it already runs elsewhere."""

    model: str | None = None
    url: str | None = None
    api_key: str | None = None
    port: Port = 8000
    max_model_len: Tokens | Literal["auto"] = "auto"
    args: dict[str, Any] = {}
    python: str | None = None
    command: list[str] | None = None
    revision: str | None = None
    trust_remote_code: bool = False


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What clients talk to. `request_timeout` is in seconds."""

    kind: Literal["litellm", "direct"] = "litellm"
    host: str = "127.0.0.1"
    port: Port = 4000
    request_timeout: Annotated[int, msgspec.Meta(ge=1)] = 600
    python: str | None = None
    allow_remote: bool = False


class HostedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A provider's model behind a route: `hosted` as LiteLLM names it (provider/model), `window` in tokens if you know it."""

    hosted: str
    api_key: str
    api_base: str | None = None
    window: Tokens | None = None


class StackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of `stack.yaml`."""

    name: str = DEFAULT_NAME
    engines: dict[str, EngineConfig] = {}
    gateway: GatewayConfig = GatewayConfig()
    routes: dict[str, str | HostedConfig] = {}
    aliases: list[str] = []
    allow_untested: bool = False


def asked_as(route: str) -> str:
    """The name that clients ask the gateway for to take `route`."""
    if route == DEFAULT_ROUTE:
        return CLIENT_MODEL
    return f"{CLIENT_MODEL}-{route}" if route in TIERS else route


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line said; None where it said nothing."""

    config: str | None = None
    name: str | None = None
    model: str | None = None
    gateway: str | None = None
    allow_untested: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked configuration; `facts` say where each value that is not a default came from.

    `engines` are all of them by name, the one that `routes.default` leads to first.
    """

    config: StackConfig
    engines: Mapping[str, EngineConfig]
    source: str | None
    facts: Mapping[str, Fact] = field(default_factory=dict)

    @property
    def engine_name(self) -> str:
        """The name of the engine that answers by default."""
        return next(iter(self.engines))

    @property
    def engine(self) -> EngineConfig:
        """The engine that answers by default."""
        return self.engines[self.engine_name]

    @property
    def managed(self) -> dict[str, EngineConfig]:
        """The engines that are started here."""
        return {name: each for name, each in self.engines.items() if each.url is None}

    @property
    def hosted(self) -> dict[str, HostedConfig]:
        """The routes that lead to a provider, by name."""
        return {name: to for name, to in self.config.routes.items() if isinstance(to, HostedConfig)}

    def origin(self, path: str) -> tuple[str, str]:
        """(origin, detail) of the value at `path`, e.g. `gateway.port`."""
        fact = self.facts.get(path)
        return (fact.origin, fact.detail) if fact else ("default", "")
