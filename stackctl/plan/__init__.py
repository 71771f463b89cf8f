"""StackConfig + Host + catalogue -> Plan. Pure: nothing is read, written or started, and no secret is in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stackctl.clients.claude import is_real, twin
from stackctl.config import CLIENT_MODEL, DEFAULT_ROUTE, TIERS, HostedConfig, asked_as
from stackctl.errors import ConfigError
from stackctl.model import Fact
from stackctl.plan import engine as engines
from stackctl.plan import shared
from stackctl.plan.engine import LOOPBACK
from stackctl.plan.flags import EMBEDDED_MEMORY
from stackctl.plan.limits import configured_window, output_limit
from stackctl.plan.types import (
    HOSTED,
    EngineInputs,
    EnginePlan,
    GatewayPlan,
    HostedPlan,
    Inputs,
    Plan,
    RemoteFacts,
    RoutePlan,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.config import Loaded

__all__ = [
    "EMBEDDED_MEMORY",
    "EngineInputs",
    "EnginePlan",
    "GatewayPlan",
    "HostedPlan",
    "Inputs",
    "Plan",
    "RemoteFacts",
    "RoutePlan",
    "build",
    "configured_window",
    "gateway_url",
    "output_limit",
]


def build(given: Inputs) -> Plan:
    """Decide everything. Raises ConfigError for settings that contradict each other."""
    loaded = given.loaded
    config = loaded.config
    facts: list[Fact] = []
    notes: list[str] = []
    made: dict[str, EnginePlan] = {}
    for each in shared.parts(given.engines, notes):
        about: list[Fact] = []
        made[each.name] = engines.plan(each, about, notes, direct=given.direct)
        facts += [replace(fact, engine=each.name) for fact in about]
    gateway = _gateway(given, facts)
    facts.append(
        Fact("client model", CLIENT_MODEL, "default", "a real Claude id would hide the true window from Claude Code")
    )
    facts += [Fact("alias", alias, *loaded.origin("aliases")) for alias in config.aliases]
    routes = _routes(loaded, made)
    asked = [
        *(("alias", alias) for alias in config.aliases),
        *(("route", each.name) for each in routes if not _is_hosted(each)),
    ]
    notes += [
        f"the {kind} {name} is a real Claude id: who asks for it gets this model, but Claude Code then believes in the window "
        f"of that one; {CLIENT_MODEL} is told the true one"
        for kind, name in asked
        if name not in TIERS and is_real(name)
    ]
    facts += [
        Fact(f"route {each.name}", f"{each.model} -> {_shown(each.to)}", *loaded.origin(f"routes.{each.name}"))
        for each in routes
    ]
    if given.direct:
        notes.append(
            "direct: vLLM answers by itself, so max_tokens above the window is refused instead of clamped, "
            "and there are no routes to hosted models"
        )
    notes += _names_twice(made)
    return Plan(
        config.name,
        tuple(made.values()),
        gateway,
        CLIENT_MODEL,
        tuple(config.aliases),
        tuple(facts),
        tuple(notes),
        routes,
    )


def gateway_url(host: str, port: int) -> str:
    """Where clients on this machine reach a gateway that listens on `host`."""
    if host in {"0.0.0.0", "::", "localhost"}:
        host = LOOPBACK
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _routes(loaded: Loaded, made: Mapping[str, EnginePlan]) -> tuple[RoutePlan, ...]:
    found: list[RoutePlan] = []
    twins = {twin(asked_as(name)) for name in (DEFAULT_ROUTE, *TIERS)}
    for name, to in loaded.config.routes.items():
        if name == DEFAULT_ROUTE:
            continue
        if name in twins:
            raise ConfigError(
                f"`routes.{name}` takes a name that Claude Code before 2.1.325 is given for `{CLIENT_MODEL}`",
                remedy="give the route another name",
            )
        answers: EnginePlan | HostedPlan
        if isinstance(to, HostedConfig):
            variable = f"{HOSTED}_{sum(isinstance(each.to, HostedPlan) for each in found) + 1}_KEY"
            answers = HostedPlan(to.hosted, to.api_base, to.api_key.removeprefix("env/"), variable, to.window)
        else:
            answers = made[to]
        found.append(RoutePlan(name, asked_as(name), answers))
    return tuple(found)


def _is_hosted(route: RoutePlan) -> bool:
    return isinstance(route.to, HostedPlan)


def _shown(to: EnginePlan | HostedPlan) -> str:
    return to.name if isinstance(to, EnginePlan) else f"{to.model} (hosted)"


def _names_twice(made: Mapping[str, EnginePlan]) -> list[str]:
    """The same model on two engines is one name for clients, and means the first."""
    first: dict[str, str] = {}
    notes = []
    for engine in made.values():
        if engine.served in first:
            notes.append(
                f"the engines {first[engine.served]} and {engine.name} both serve {engine.served}: by that name clients get "
                f"{first[engine.served]}, by a route either"
            )
        first.setdefault(engine.served, engine.name)
    return notes


def _gateway(given: Inputs, facts: list[Fact]) -> GatewayPlan:
    loaded, tool = given.loaded, given.gateway_tool
    config = loaded.config.gateway
    port = given.gateway_port
    argv: tuple[str, ...] = ()
    if tool is not None:
        argv = (tool.python, "-m", "litellm.proxy.proxy_cli", "--config", given.config_path)
        argv += ("--host", config.host, "--port", str(port))
        facts.append(Fact("gateway", f"LiteLLM {tool.version}".strip(), *engines.tool_origin(tool)))
    for key, value in (
        ("kind", config.kind),
        ("host", config.host),
        ("port", port),
        ("request_timeout", config.request_timeout),
    ):
        facts.append(Fact(f"gateway.{key}", str(value), *loaded.origin(f"gateway.{key}")))
    url = gateway_url(config.host, port)
    return GatewayPlan(config.kind, config.host, port, url, config.request_timeout, argv, tool)
