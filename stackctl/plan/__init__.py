"""StackConfig + Host + catalogue -> Plan. Pure: nothing is read, written or started, and no secret is in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from stackctl.clients.claude import is_real, twin
from stackctl.config import CLIENT_MODEL, EMBEDDED
from stackctl.errors import ConfigError
from stackctl.model import Fact
from stackctl.plan import flags as vllm
from stackctl.plan.flags import EMBEDDED_MEMORY
from stackctl.plan.limits import configured_window, output_limit
from stackctl.plan.types import EnginePlan, GatewayPlan, Inputs, Plan, RemoteFacts

if TYPE_CHECKING:
    from stackctl.host import Host
    from stackctl.plan.fit import Fit
    from stackctl.toolchain import Toolchain

LOOPBACK = "127.0.0.1"  # never `localhost`: vLLM and LiteLLM listen on IPv4 only
EMBEDDED_SERVED = "smollm2-135m-instruct"

__all__ = [
    "EMBEDDED_MEMORY",
    "EnginePlan",
    "GatewayPlan",
    "Inputs",
    "Plan",
    "RemoteFacts",
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
    engine = _remote(given, facts) if loaded.engine.url is not None else _managed(given, facts, notes)
    output, why = output_limit(loaded.engine, engine.window)
    facts.append(Fact("output limit", str(output), "default", why))
    gateway = _gateway(given, facts)
    facts.append(
        Fact("client model", CLIENT_MODEL, "default", "a real Claude id would hide the true window from Claude Code")
    )
    facts += [Fact("alias", alias, *loaded.origin("aliases")) for alias in config.aliases]
    notes += [
        f"the alias {alias} is a real Claude id: who asks for it gets this model, but Claude Code then believes in the window "
        f"of that one; {CLIENT_MODEL} is told the true one"
        for alias in config.aliases
        if is_real(alias)
    ]
    if given.direct:
        notes.append(
            "direct: vLLM answers by itself, so max_tokens above the window is refused instead of clamped, "
            "and there are no routes to hosted models"
        )
    return Plan(config.name, engine, gateway, CLIENT_MODEL, tuple(config.aliases), output, tuple(facts), tuple(notes))


def gateway_url(host: str, port: int) -> str:
    """Where clients on this machine reach a gateway that listens on `host`."""
    if host in {"0.0.0.0", "::", "localhost"}:
        host = LOOPBACK
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _remote(given: Inputs, facts: list[Fact]) -> EnginePlan:
    loaded, remote = given.loaded, given.remote
    engine = loaded.engine
    path = f"engines.{loaded.engine_name}"
    url = str(engine.url).rstrip("/").removesuffix("/v1")
    served = engine.model or (remote.served if remote else "")
    if not served:
        raise ConfigError(
            f"the engine at {url} does not say which model it serves",
            remedy=f"start it, or name the model: {path}.model",
        )
    window = engine.max_model_len if isinstance(engine.max_model_len, int) else (remote.window if remote else None)
    facts.append(Fact("engine", url, *loaded.origin(f"{path}.url")))
    facts.append(
        Fact("model", served, *(loaded.origin(f"{path}.model") if engine.model else ("model", "the engine says so")))
    )
    return EnginePlan(
        name=loaded.engine_name,
        model=served,
        served=served,
        url=url,
        port=0,
        window=window,
        speaks_messages=remote.speaks_messages if remote else True,
        api_key=engine.api_key,
    )


def _managed(given: Inputs, facts: list[Fact], notes: list[str]) -> EnginePlan:
    loaded, tool = given.loaded, given.engine_tool
    engine = loaded.engine
    path = f"engines.{loaded.engine_name}"
    model = str(engine.model)
    port = given.ports[1] if given.direct else given.ports[0]
    vllm.check(engine, path)
    where, served = _model_and_name(model, given.model_path)
    names = [CLIENT_MODEL, twin(CLIENT_MODEL), *loaded.config.aliases, served] if given.direct else [served]
    flags: dict[str, Any] = {"model": where, "served-model-name": names, "host": LOOPBACK, "port": port}
    if tool is not None:
        facts.append(Fact("engine", f"{tool.package} {tool.version}".strip(), *_tool_origin(tool)))
    facts.append(Fact("model", model, *loaded.origin(f"{path}.model")))
    facts.append(Fact("engine port", str(port), *loaded.origin("gateway.port" if given.direct else f"{path}.port")))
    fitted = vllm.fitted(given)
    if fitted is not None:
        notes += [fitted.refusal, *fitted.notes] if fitted.refusal else fitted.notes
    for name, (value, origin, reason) in vllm.derive(given, notes, fitted).items():
        if name not in engine.args:
            flags[name] = value
            facts.append(Fact(f"--{name}", vllm.shown(value), origin, reason))
    for name, value in engine.args.items():
        flags[name] = value
        facts.append(Fact(f"--{name}", vllm.shown(value), *loaded.origin(f"{path}.args.{name}")))
    launcher = (tool.python, "-m", "vllm.entrypoints.openai.api_server") if tool else tuple(engine.command or ())
    return EnginePlan(
        name=loaded.engine_name,
        model=model,
        served=served,
        url=f"http://{LOOPBACK}:{port}",
        port=port,
        window=configured_window(engine) or (fitted.window or None if fitted and not fitted.refusal else None),
        argv=(*launcher, *vllm.argv(flags)),
        env=_environment(given.host, embedded=model == EMBEDDED) | _visible(given.host, fitted, facts),
        toolchain=tool,
        tool_parser=flags.get("tool-call-parser"),
        reasoning_parser=flags.get("reasoning-parser"),
        fit=fitted,
        vision=False if model == EMBEDDED else given.size.vision if given.size else None,
    )


def _visible(host: Host, fitted: Fit | None, facts: list[Fact]) -> dict[str, str]:
    """Which GPUs the engine may see, where it does not use them all."""
    if fitted is None or not fitted.used or fitted.used[0].kind != "cuda" or len(fitted.used) == len(host.gpus):
        return {}
    named = ",".join(str(device.index) for device in fitted.used)
    facts.append(Fact("$CUDA_VISIBLE_DEVICES", named, "hardware", "the others are not needed"))
    facts.append(Fact("$CUDA_DEVICE_ORDER", "PCI_BUS_ID", "hardware", "as the driver numbers them"))
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": named}


def _model_and_name(model: str, path: str | None) -> tuple[str, str]:
    """What vLLM loads, and the name that it serves it by."""
    if model == EMBEDDED:
        return str(path), EMBEDDED_SERVED
    return (path, os.path.basename(path)) if path else (model, model)


def _environment(host: Host, *, embedded: bool) -> dict[str, str]:
    """vLLM's variables that are part of the plan (no secret, no path)."""
    env = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": LOOPBACK,  # torch's store would listen on all interfaces
        "VLLM_DISABLE_LOG_LOGO": "1",
        "VLLM_ENGINE_READY_TIMEOUT_S": "86400",  # the supervisor judges by progress, not by the clock
        "HF_HUB_OFFLINE": "1",  # downloads are a step of their own
        "TRANSFORMERS_OFFLINE": "1",
    }
    if host.accelerator == "cpu" and embedded:
        env["VLLM_CPU_KVCACHE_SPACE"] = "2"  # GiB; 32k tokens of this model need 0.7
    return env


def _gateway(given: Inputs, facts: list[Fact]) -> GatewayPlan:
    loaded, tool = given.loaded, given.gateway_tool
    config = loaded.config.gateway
    port = given.ports[1]
    argv: tuple[str, ...] = ()
    if tool is not None:
        argv = (tool.python, "-m", "litellm.proxy.proxy_cli", "--config", given.config_path)
        argv += ("--host", config.host, "--port", str(port))
        facts.append(Fact("gateway", f"LiteLLM {tool.version}".strip(), *_tool_origin(tool)))
    for key, value in (
        ("kind", config.kind),
        ("host", config.host),
        ("port", port),
        ("request_timeout", config.request_timeout),
    ):
        facts.append(Fact(f"gateway.{key}", str(value), *loaded.origin(f"gateway.{key}")))
    url = gateway_url(config.host, port)
    return GatewayPlan(config.kind, config.host, port, url, config.request_timeout, argv, tool)


def _tool_origin(tool: Toolchain) -> tuple[str, str]:
    if tool.source == "configured":
        return "file", tool.python
    return "default", "the environment stackctl runs in" if tool.source == "own" else "managed environment"
