"""What the planner takes and what it gives."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stackctl.clients.claude import twin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.catalog.families import Family
    from stackctl.config import Loaded
    from stackctl.host import Host
    from stackctl.model import Fact
    from stackctl.plan.fit import Fit, Size
    from stackctl.toolchain import Toolchain

ENGINE_KEY = "os.environ/STACKCTL_ENGINE_KEY"


@dataclass(frozen=True, slots=True)
class RemoteFacts:
    """What an engine that already runs said of itself; `speaks_messages` when it has Anthropic's `/v1/messages`."""

    served: str
    window: int | None
    speaks_messages: bool


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a plan is made from.

    `ports` are (engine, gateway). A tool is None where nothing of it is needed (`command:`, `url:`, `direct`).
    `model_path` is the directory of a model on disk (of the embedded one, where it stands or will stand), None for
    one from the hub; `config_path` is where the gateway's file will stand. `size` is None for a model that is neither
    in the catalogue nor on this machine.
    """

    loaded: Loaded
    host: Host
    ports: tuple[int, int]
    engine_tool: Toolchain | None
    gateway_tool: Toolchain | None
    model_path: str | None
    config_path: str
    family: Family | None = None
    remote: RemoteFacts | None = None
    size: Size | None = None

    @property
    def direct(self) -> bool:
        """Whether clients talk to the engine itself."""
        return self.loaded.config.gateway.kind == "direct"


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """The engine as it will run (`argv`) or as it was found (`argv` empty). `window` in tokens, None until it says.

    `vision` says whether the model reads pictures; None where nobody has said so.
    """

    name: str
    model: str
    served: str
    url: str
    port: int
    window: int | None
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    toolchain: Toolchain | None = None
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    speaks_messages: bool = True
    api_key: str | None = None
    fit: Fit | None = None
    vision: bool | None = None

    @property
    def managed(self) -> bool:
        """Whether stackctl starts it."""
        return bool(self.argv)


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """What clients talk to; `argv` is empty for `direct`, where the engine itself listens there. Seconds."""

    kind: str
    host: str
    port: int
    url: str
    request_timeout: int
    argv: tuple[str, ...] = ()
    toolchain: Toolchain | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything decided before anything starts."""

    name: str
    engine: EnginePlan
    gateway: GatewayPlan
    client_model: str
    aliases: tuple[str, ...]
    output_limit: int
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Tells two plans apart. What follows from the hardware does not count: a stack that runs uses up memory itself."""
        engine, gateway = self.engine, self.gateway
        derived = {fact.name for fact in self.facts if fact.origin == "hardware"}
        argv = _without(engine.argv, derived)
        env = {name: value for name, value in engine.env.items() if f"${name}" not in derived}
        same: list[object] = [self.name, argv, env, engine.url, engine.served]
        same += [gateway.kind, gateway.url, gateway.request_timeout, gateway.argv]
        same += [self.client_model, self.aliases]
        return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:16]

    def models(self) -> list[dict[str, Any]]:
        """The gateway's model list, as the template takes it (`model_list` of LiteLLM's configuration)."""
        engine = self.engine
        info: dict[str, Any] = {
            "max_input_tokens": engine.window,
            "max_output_tokens": self.output_limit,
            # with it LiteLLM turns adaptive thinking into a budget, which vLLM refuses without a reasoning parser
            "supports_reasoning": engine.reasoning_parser is not None,
            "supports_vision": engine.vision,
            "native": engine.managed,  # it is vLLM: no PDFs, and no tools of a provider's servers
            "supports_function_calling": True,
        }
        openai = {"model": f"hosted_vllm/{engine.served}", "api_base": f"{engine.url}/v1", "api_key": ENGINE_KEY}
        # no api_key here: LiteLLM would send it as x-api-key, which vLLM does not read; ANTHROPIC_AUTH_TOKEN in the
        # gateway's environment goes out as a bearer token, for messages and for count_tokens alike
        anthropic = {"model": f"anthropic/{engine.served}", "api_base": engine.url, "api_key": None}
        native = anthropic if engine.speaks_messages else openai
        rows = [
            {"name": name, **native, **info} for name in (self.client_model, twin(self.client_model), *self.aliases)
        ]
        if engine.served not in {row["name"] for row in rows}:
            rows.append({"name": engine.served, **openai, **info})
        return rows


def _without(argv: tuple[str, ...], flags: set[str]) -> list[str]:
    """`argv` without `flags` and their values."""
    kept: list[str] = []
    dropping = False
    for word in argv:
        if word.startswith("--"):
            dropping = word in flags
        if not dropping:
            kept.append(word)
    return kept
