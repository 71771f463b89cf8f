"""The steps before anything starts, in order: config -> host -> toolchain -> plan. Nothing is written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from stackctl import checkpoint, config, fetch, host, plan, ports, remote, render, sizes, toolchain
from stackctl.catalog import families
from stackctl.errors import PreflightError
from stackctl.hub.cache import cache_dir
from stackctl.model import ClientFacts, ServiceKind
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.catalog.families import Family
    from stackctl.config import Flags, Loaded
    from stackctl.host import Host
    from stackctl.plan import Plan
    from stackctl.toolchain import Toolchain


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and what it was made from."""

    loaded: Loaded
    host: Host
    paths: StackPaths
    ports: tuple[int, int]
    plan: Plan


def prepare(flags: Flags) -> Prepared:
    """Decide everything for `flags`. Raises ConfigError for a configuration that cannot be used."""
    loaded = config.load(flags)
    return decide(loaded, host.inspect(cache_dir()))


def decide(
    loaded: Loaded, machine: Host, *, ask: bool = True, find: Callable[..., Toolchain] = toolchain.locate
) -> Prepared:
    """Make the plan for a configuration that has been read.

    Without `ask`, an engine elsewhere is not asked anything; `find` says where a service's program is.
    """
    paths = StackPaths(loaded.config.name)
    chosen = ports.choose(loaded, paths)
    engine, gateway = loaded.engine, loaded.config.gateway
    engine_tool = gateway_tool = None
    if engine.url is None and engine.command is None:
        engine_tool = find(ServiceKind.ENGINE, configured_python=engine.python, accelerator=machine.accelerator)
    if gateway.kind != "direct":
        gateway_tool = find(ServiceKind.GATEWAY, configured_python=gateway.python, accelerator=machine.accelerator)
    given = plan.Inputs(
        loaded=loaded,
        host=machine,
        ports=chosen,
        engine_tool=engine_tool,
        gateway_tool=gateway_tool,
        model_path=_model_path(engine.model),
        config_path=os.path.join(paths.gateway_dir, render.CONFIG_FILE),
        family=_family(engine.model, engine.revision) if engine.model and engine.url is None else None,
        remote=_elsewhere(loaded, ask=ask) if engine.url is not None else None,
        size=sizes.size_of(engine.model, revision=engine.revision)
        if engine.model and engine.url is None and engine.model != config.EMBEDDED
        else None,
    )
    return Prepared(loaded, machine, paths, chosen, plan.build(given))


def _elsewhere(loaded: Loaded, *, ask: bool) -> plan.RemoteFacts | None:
    """What an engine elsewhere says of itself; unasked, the name that the configuration gives it has to do."""
    if ask:
        return remote.discover(loaded)
    return plan.RemoteFacts(loaded.engine.model or "unknown", None, speaks_messages=True)


def _family(model: str, revision: str | None) -> Family | None:
    """By name, else by how the chat template of a checkpoint that is here writes its tool calls.

    Flags that need a file (Mistral's own format) are dropped where the checkpoint lacks it: quantised re-uploads do.
    """
    found = families.match(model)
    directory = sizes.directory(model, revision) if model != config.EMBEDDED else None
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


def _model_path(model: str | None) -> str | None:
    if model == config.EMBEDDED:
        return fetch.embedded_dir()
    return os.path.abspath(os.path.expanduser(model)) if model and fetch.is_local(model) else None


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
    )


def client_facts(flags: Flags) -> ClientFacts:
    """What a client would be told of the configured stack, without asking anything of the network or the engine."""
    loaded = config.load(flags)
    gateway = loaded.config.gateway
    _, port = ports.choose(loaded, StackPaths(loaded.config.name))
    window = plan.configured_window(loaded.engine)
    return ClientFacts(
        url=plan.gateway_url(gateway.host, port),
        model=config.CLIENT_MODEL,
        served=loaded.engine.model or "",
        window=window,
        output_limit=plan.output_limit(loaded.engine, window)[0],
        timeout=gateway.request_timeout,
    )
