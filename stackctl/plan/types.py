"""What the planner takes and what it gives."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stackctl.clients.claude import twin
from stackctl.config import TIERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.catalog.families import Family
    from stackctl.config import EngineConfig, Loaded
    from stackctl.host import Host
    from stackctl.model import Fact
    from stackctl.plan.fit import Fit, Size
    from stackctl.toolchain import Toolchain

HOSTED = "STACKCTL_HOSTED"  # the beginning of the variables that the gateway finds providers' keys under


@dataclass(frozen=True, slots=True)
class RemoteFacts:
    """What an engine that already runs said of itself; `speaks_messages` when it has Anthropic's `/v1/messages`."""

    served: str
    window: int | None
    speaks_messages: bool


@dataclass(frozen=True, slots=True)
class EngineInputs:
    """All that the plan of one engine is made from.

    `host` is the machine, or the part of it that this engine may use where several share it (`shared`). `port` is the one
    to listen on. `tool` is None where nothing of it is needed (`command:`, `url:`). `model_path` is the directory of a
    model on disk (of the embedded one, where it stands or will stand), None for one from the hub. `size` is None for a
    model that is neither in the catalogue nor on this machine. `templates_dir` is where vLLM's chat templates stand or
    will stand; `code` the revision of the model whose own code the user agreed to run, empty where they did not.
    """

    loaded: Loaded
    name: str
    host: Host
    port: int
    tool: Toolchain | None
    model_path: str | None
    family: Family | None = None
    remote: RemoteFacts | None = None
    size: Size | None = None
    templates_dir: str = ""
    code: str = ""
    shared: bool = False

    @property
    def config(self) -> EngineConfig:
        """What the configuration says of it."""
        return self.loaded.engines[self.name]

    @property
    def path(self) -> str:
        """Where that stands."""
        return f"engines.{self.name}"

    @property
    def alone(self) -> bool:
        """Whether it is the stack's only one."""
        return len(self.loaded.engines) == 1


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a plan is made from. `engines` are in the order of `loaded.engines`.

    `gateway_tool` is None for `direct`; `config_path` is where the gateway's file will stand.
    """

    loaded: Loaded
    host: Host
    engines: tuple[EngineInputs, ...]
    gateway_port: int
    gateway_tool: Toolchain | None
    config_path: str

    @property
    def direct(self) -> bool:
        """Whether clients talk to the engine itself."""
        return self.loaded.config.gateway.kind == "direct"


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """The engine as it will run (`argv`) or as it was found (`argv` empty). `window` in tokens, None until it says.

    `service` is what it is called among the services, `key_variable` what the gateway finds its key under, and `host` the
    part of the machine that it was planned for. `output_limit` is in tokens. `source` is the user's variable that the
    key of one elsewhere is in. `vision` says whether the model reads pictures;
    None where nobody has said so. `chat_template` is the file of vLLM's source that `argv` names, if any.
    """

    name: str
    model: str
    served: str
    url: str
    port: int
    window: int | None
    output_limit: int = 0
    service: str = "engine"
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    toolchain: Toolchain | None = None
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    speaks_messages: bool = True
    fit: Fit | None = None
    vision: bool | None = None
    chat_template: str = ""
    host: Host | None = None
    source: str = ""

    @property
    def managed(self) -> bool:
        """Whether stackctl starts it."""
        return bool(self.argv)

    @property
    def devices(self) -> frozenset[int]:
        """The GPUs that it may use; none on a processor."""
        cards = (self.host.gpus or self.host.amd) if self.host is not None else ()
        seen = self.env.get("CUDA_VISIBLE_DEVICES")
        return frozenset(map(int, seen.split(","))) if seen else frozenset(card.index for card in cards)

    @property
    def variable(self) -> str:
        """The beginning of the variables that the gateway finds its key under; of several engines each has its own."""
        return "STACKCTL_ENGINE" + ("" if self.service == "engine" else f"_{self.name.upper().replace('-', '_')}")

    @property
    def key_variable(self) -> str:
        """What the gateway finds its key under (named so that it is known for a secret)."""
        return f"{self.variable}_KEY"

    @property
    def bearer_variable(self) -> str:
        """What the gateway finds its Authorization header under."""
        return f"{self.variable}_BEARER"


@dataclass(frozen=True, slots=True)
class HostedPlan:
    """A provider's model: `model` as LiteLLM names it; the gateway finds under `variable` what is in the user's `source`."""

    model: str
    api_base: str | None
    source: str
    variable: str
    window: int | None


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """A route beside the default: `name` as configured, `model` as clients ask for it, and who answers."""

    name: str
    model: str
    to: EnginePlan | HostedPlan


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
    """Everything decided before anything starts. `engines` are all of them, the one that answers by default first."""

    name: str
    engines: tuple[EnginePlan, ...]
    gateway: GatewayPlan
    client_model: str
    aliases: tuple[str, ...]
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    routes: tuple[RoutePlan, ...] = ()

    @property
    def engine(self) -> EnginePlan:
        """The engine that answers by default."""
        return self.engines[0]

    @property
    def managed(self) -> tuple[EnginePlan, ...]:
        """The engines that are started here."""
        return tuple(each for each in self.engines if each.managed)

    @property
    def hosted(self) -> tuple[HostedPlan, ...]:
        """The providers' models."""
        return tuple(each.to for each in self.routes if isinstance(each.to, HostedPlan))

    @property
    def output_limit(self) -> int:
        """The most tokens that a client may ask for in one answer of the default engine."""
        return self.engine.output_limit

    @property
    def digest(self) -> str:
        """Tells two plans apart. What follows from the hardware does not count: a stack that runs uses up memory itself."""
        gateway = self.gateway
        same: list[object] = [self.name]
        for engine in self.engines:
            derived = {fact.name for fact in self.facts if fact.origin == "hardware" and fact.engine == engine.name}
            env = {name: value for name, value in engine.env.items() if f"${name}" not in derived}
            same += [_without(engine.argv, derived), env, engine.url, engine.served]
        same += [gateway.kind, gateway.url, gateway.request_timeout, gateway.argv]
        same += [self.client_model, self.aliases]
        for route in self.routes:
            to = route.to
            same += [route.model, to.name if isinstance(to, EnginePlan) else [to.model, to.api_base, to.source]]
        return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:16]

    def names(self) -> dict[str, EnginePlan | HostedPlan]:
        """Every name that clients may ask for, and who answers. A name means one of them; the first that claims it."""
        own = (self.client_model, twin(self.client_model), *self.aliases)
        found: dict[str, EnginePlan | HostedPlan] = dict.fromkeys(own, self.engine)
        for route in self.routes:
            found.setdefault(route.model, route.to)
            if route.name in TIERS:
                found.setdefault(twin(route.model), route.to)
        for engine in self.engines:
            found.setdefault(engine.served, engine)
        return found

    def models(self) -> list[dict[str, Any]]:
        """The gateway's model list, as the template takes it (`model_list` of LiteLLM's configuration)."""
        keyed = len(self.engines) > 1 or bool(self.hosted)
        found, rows = self.names(), []
        for name, to in found.items():
            if isinstance(to, HostedPlan):
                rows.append(_hosted_row(name, to))
            else:  # the model's own name comes last, where nothing else has claimed it
                rows.append(_engine_row(name, to, openai=name == to.served and name not in self._asked(), keyed=keyed))
        return rows

    def _asked(self) -> set[str]:
        """The names that are not a model's own."""
        return {self.client_model, twin(self.client_model), *self.aliases, *(route.model for route in self.routes)}


def _engine_row(name: str, engine: EnginePlan, *, openai: bool, keyed: bool) -> dict[str, Any]:
    """One name of an engine: `openai` for the protocol of OpenAI's clients; `keyed` where other rows have other keys."""
    key = f"os.environ/{engine.key_variable}"
    row: dict[str, Any] = {
        "name": name,
        # no api_key with `anthropic/`: LiteLLM would send it as x-api-key, which vLLM does not read; ANTHROPIC_AUTH_TOKEN
        # in the gateway's environment goes out as a bearer token, for messages and for count_tokens alike
        "model": f"anthropic/{engine.served}",
        "api_base": engine.url,
        "api_key": None,
        "bearer": None,
        "max_input_tokens": engine.window,
        "max_output_tokens": engine.output_limit,
        # with it LiteLLM turns adaptive thinking into a budget, which vLLM refuses without a reasoning parser
        "supports_reasoning": engine.reasoning_parser is not None,
        "supports_vision": engine.vision,
        "native": engine.managed,  # it is vLLM: no PDFs, and no tools of a provider's servers
        "supports_function_calling": True,
    }
    if openai or not engine.speaks_messages:
        row |= {"model": f"hosted_vllm/{engine.served}", "api_base": f"{engine.url}/v1", "api_key": key}
    elif keyed:  # that variable is one for all rows; a header of the row's own goes before it, and before the api_key
        row |= {"api_key": key, "bearer": f"os.environ/{engine.bearer_variable}"}
    return row


def _hosted_row(name: str, to: HostedPlan) -> dict[str, Any]:
    """A provider's model; what it can do is LiteLLM's to know."""
    return {
        "name": name,
        "model": to.model,
        "api_base": to.api_base,
        "api_key": f"os.environ/{to.variable}",
        "bearer": None,
        "max_input_tokens": to.window,
        "max_output_tokens": None,
        "supports_reasoning": None,
        "supports_vision": None,
        "native": False,
        "supports_function_calling": None,
    }


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
