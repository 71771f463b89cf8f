"""The steps before anything starts, in order: config -> host -> toolchain -> plan. Nothing is written."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from stackctl import (
    chat_templates,
    checkpoint,
    config,
    fetch,
    host,
    own_code,
    plan,
    ports,
    remote,
    render,
    sizes,
    toolchain,
)
from stackctl.catalog import families
from stackctl.errors import PreflightError
from stackctl.hub.cache import cache_dir
from stackctl.model import ClientFacts, RouteFacts, ServiceKind
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stackctl.catalog.families import Family
    from stackctl.config import EngineConfig, Flags, Loaded
    from stackctl.host import Host
    from stackctl.hub.download import Head
    from stackctl.plan import Plan
    from stackctl.plan.fit import Size
    from stackctl.ports import Ports
    from stackctl.toolchain import Toolchain

UNASKED = "unknown"  # what an engine elsewhere is called when nothing may be asked


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and what it was made from; `heads` are what hub models that are not here say of themselves, by engine."""

    loaded: Loaded
    host: Host
    paths: StackPaths
    ports: Ports
    plan: Plan
    heads: Mapping[str, Head] = field(default_factory=dict)


def prepare(flags: Flags) -> Prepared:
    """Decide everything for `flags`. Raises ConfigError for a configuration that cannot be used."""
    loaded = config.load(flags)
    return decide(loaded, host.inspect(cache_dir()))


def decide(
    loaded: Loaded,
    machine: Host,
    *,
    ask: bool = True,
    find: Callable[..., Toolchain] = toolchain.locate,
    heads: Mapping[str, Head] | None = None,
) -> Prepared:
    """Make the plan for a configuration that has been read.

    Without `ask`, an engine elsewhere is not asked anything; `find` says where a service's program is. `heads` are what
    `fetch.head` gave for hub models that are neither in the catalogue nor here, by engine.
    """
    paths = StackPaths(loaded.config.name)
    chosen = ports.choose(loaded, paths)
    gateway = loaded.config.gateway
    heads = heads or {}
    gateway_tool = None
    if gateway.kind != "direct":
        gateway_tool = find(ServiceKind.GATEWAY, configured_python=gateway.python, accelerator=machine.accelerator)
    given = plan.Inputs(
        loaded=loaded,
        host=machine,
        engines=tuple(
            _engine(loaded, name, machine, chosen, ask=ask, find=find, head=heads.get(name)) for name in loaded.engines
        ),
        gateway_port=chosen.gateway,
        gateway_tool=gateway_tool,
        config_path=os.path.join(paths.gateway_dir, render.CONFIG_FILE),
    )
    return Prepared(loaded, machine, paths, chosen, plan.build(given), heads)


def _engine(
    loaded: Loaded,
    name: str,
    machine: Host,
    chosen: Ports,
    *,
    ask: bool,
    find: Callable[..., Toolchain],
    head: Head | None,
) -> plan.EngineInputs:
    """What one engine is planned from."""
    engine = loaded.engines[name]
    if engine.url is not None:
        return plan.EngineInputs(loaded, name, machine, 0, None, None, remote=_elsewhere(engine, ask=ask))
    model = str(engine.model)
    tool = None
    if engine.command is None:
        tool = find(ServiceKind.ENGINE, configured_python=engine.python, accelerator=machine.accelerator)
    return plan.EngineInputs(
        loaded=loaded,
        name=name,
        host=machine,
        port=chosen.gateway if loaded.config.gateway.kind == "direct" else chosen.engines[name],
        tool=tool,
        model_path=_model_path(model),
        family=family_of(model, engine.revision, head.directory if head else None),
        size=_size(model, engine.revision, head),
        templates_dir=chat_templates.directory(),
        code=own_code.agreed(model, engine.revision) if model != config.EMBEDDED else "",
    )


def _elsewhere(engine: EngineConfig, *, ask: bool) -> plan.RemoteFacts | None:
    """What an engine elsewhere says of itself; unasked, the name that the configuration gives it has to do."""
    if ask:
        return remote.discover(engine)
    return plan.RemoteFacts(engine.model or UNASKED, None, speaks_messages=True)


def _size(model: str, revision: str | None, head: Head | None) -> Size | None:
    if model == config.EMBEDDED:
        return None
    known = sizes.size_of(model, revision=revision)
    return known or (sizes.of_files(model, head.directory, weights=head.weights) if head else None)


def family_of(model: str, revision: str | None, head: str | None = None) -> Family | None:
    """By name, else by how the chat template of a checkpoint that is here writes its tool calls.

    `head` is a directory with its small files. Flags that need a file (Mistral's own format) are dropped where the checkpoint lacks it: quantised re-uploads do.
    """
    found = families.match(model)
    directory = (sizes.directory(model, revision) or head) if model != config.EMBEDDED else None
    if found is not None:
        needed = found.flags_need_file
        if needed is None:
            return found
        has = os.path.exists(os.path.join(directory, needed)) if directory else model.startswith("mistralai/")
        return found if has else msgspec.structs.replace(found, flags={}, chat_template=found.chat_template_hf_mode)
    if directory is None:
        return None
    try:
        template = checkpoint.read(directory).chat_template
    except PreflightError:
        return None  # the preflight says what is wrong with it
    return families.from_template(template) if template else None


def _model_path(model: str) -> str | None:
    if model == config.EMBEDDED:
        return fetch.embedded_dir()
    return os.path.abspath(os.path.expanduser(model)) if fetch.is_local(model) else None


def promised(prepared: Prepared) -> ClientFacts:
    """What the plan promises to clients; the engine's true window replaces None once it runs."""
    made = prepared.plan
    return ClientFacts(
        url=made.gateway.url,
        model=made.client_model,
        served=made.engine.served,
        window=made.engine.window,
        output_limit=made.output_limit,
        timeout=made.gateway.request_timeout,
        vision=made.engine.vision,
        routes=tuple(map(_route, made.routes)),
    )


def _route(route: plan.RoutePlan) -> RouteFacts:
    to = route.to
    if isinstance(to, plan.HostedPlan):
        return RouteFacts(route.name, route.model, to.model, window=to.window)
    return RouteFacts(route.name, route.model, to.served, to.name, to.window, to.output_limit, to.vision)


def client_facts(flags: Flags) -> ClientFacts:
    """What a client would be told of the configured stack, without asking anything of the network or the engine."""
    loaded = config.load(flags)
    gateway = loaded.config.gateway
    port = ports.choose(loaded, StackPaths(loaded.config.name)).gateway
    window = plan.configured_window(loaded.engine)
    return ClientFacts(
        url=plan.gateway_url(gateway.host, port),
        model=config.CLIENT_MODEL,
        served=loaded.engine.model or "",
        window=window,
        output_limit=plan.output_limit(loaded.engine, window)[0],
        timeout=gateway.request_timeout,
        routes=tuple(_configured_route(loaded, name) for name in loaded.config.routes if name != config.DEFAULT_ROUTE),
    )


def _configured_route(loaded: Loaded, name: str) -> RouteFacts:
    to, model = loaded.config.routes[name], config.asked_as(name)
    if isinstance(to, config.HostedConfig):
        return RouteFacts(name, model, to.hosted, window=to.window)
    engine = loaded.engines[to]
    window = plan.configured_window(engine)
    return RouteFacts(name, model, engine.model or "", to, window, plan.output_limit(engine, window)[0])
