"""The plan of one engine: its command line and environment, or what one that runs elsewhere says of itself. Pure."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stackctl import addresses
from stackctl.clients.claude import twin
from stackctl.config import CLIENT_MODEL, EMBEDDED
from stackctl.errors import ConfigError
from stackctl.model import Fact
from stackctl.plan import flags as vllm
from stackctl.plan.limits import configured_window, output_limit
from stackctl.plan.types import EngineInputs, EnginePlan

if TYPE_CHECKING:
    from stackctl.host import Host
    from stackctl.plan.fit import Fit
    from stackctl.toolchain import Toolchain

LOOPBACK = "127.0.0.1"  # never `localhost`: vLLM and LiteLLM listen on IPv4 only
EMBEDDED_SERVED = "smollm2-135m-instruct"
GATE = "stackctl_engine.Gate"  # of beside_vllm/: vLLM itself asks for its key below a few prefixes only


def plan(given: EngineInputs, facts: list[Fact], notes: list[str], *, direct: bool) -> EnginePlan:
    """Decide everything about one engine; `direct` when clients talk to it themselves."""
    made = _remote(given, facts) if given.config.url is not None else _managed(given, facts, notes, direct=direct)
    limit, why = output_limit(given.config, made.window)
    facts.append(Fact("output limit", str(limit), "default", why))
    service = "engine" if given.alone else given.name
    return replace(made, output_limit=limit, service=service)


def _remote(given: EngineInputs, facts: list[Fact]) -> EnginePlan:
    loaded, remote = given.loaded, given.remote
    engine, path = given.config, given.path
    url = addresses.root(str(engine.url))
    served = engine.model or (remote.served if remote else "")
    if not served:
        said = "does not say which model it serves" if remote else "does not answer"
        others = "" if given.alone else ", with which the others start without it"
        raise ConfigError(f"the engine at {url} {said}", remedy=f"start it, or name its model: {path}.model{others}")
    window = engine.max_model_len if isinstance(engine.max_model_len, int) else (remote.window if remote else None)
    facts.append(Fact("engine", url, *loaded.origin(f"{path}.url")))
    facts.append(
        Fact("model", served, *(loaded.origin(f"{path}.model") if engine.model else ("model", "the engine says so")))
    )
    return EnginePlan(
        name=given.name,
        model=served,
        served=served,
        url=url,
        port=0,
        window=window,
        speaks_messages=remote.speaks_messages if remote else True,
        source=(engine.api_key or "").removeprefix("env/"),
    )


def _managed(given: EngineInputs, facts: list[Fact], notes: list[str], *, direct: bool) -> EnginePlan:
    loaded, tool = given.loaded, given.tool
    engine, path, port = given.config, given.path, given.port
    model = str(engine.model)
    vllm.check(engine, path)
    where, served = _model_and_name(model, given.model_path)
    names = [CLIENT_MODEL, twin(CLIENT_MODEL), *loaded.config.aliases, served] if direct else [served]
    flags: dict[str, Any] = {"model": where, "served-model-name": names, "host": LOOPBACK, "port": port}
    if tool is not None:
        facts.append(Fact("engine", f"{tool.package} {tool.version}".strip(), *tool_origin(tool)))
    facts.append(Fact("model", model, *loaded.origin(f"{path}.model")))
    facts.append(Fact("engine port", str(port), *loaded.origin("gateway.port" if direct else f"{path}.port")))
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
        name=given.name,
        model=model,
        served=served,
        url=f"http://{LOOPBACK}:{port}",
        port=port,
        window=configured_window(engine) or (fitted.window or None if fitted and not fitted.refusal else None),
        argv=(*launcher, *vllm.argv(flags), *(("--middleware", GATE) if tool else ())),
        env=_environment(given.host, embedded=model == EMBEDDED) | _visible(given, fitted, facts),
        toolchain=tool,
        tool_parser=flags.get("tool-call-parser"),
        reasoning_parser=flags.get("reasoning-parser"),
        fit=fitted,
        vision=False if model == EMBEDDED else given.size.vision if given.size else None,
        chat_template=vllm.chat_template(given) if "chat-template" in flags else "",
        host=given.host,
    )


def _visible(given: EngineInputs, fitted: Fit | None, facts: list[Fact]) -> dict[str, str]:
    """Which GPUs the engine may see, where it does not use them all."""
    cards = [gpu.index for gpu in given.host.gpus]
    if fitted is not None and fitted.used and fitted.used[0].kind == "cuda":
        used = [device.index for device in fitted.used]
    elif given.shared and cards:
        used = cards
    else:
        return {}
    if not given.shared and len(used) == len(cards):
        return {}
    named = ",".join(map(str, used))
    why = "the others are not needed" if not given.shared else "what this engine has of the machine"
    facts.append(Fact("$CUDA_VISIBLE_DEVICES", named, "hardware", why))
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


def tool_origin(tool: Toolchain) -> tuple[str, str]:
    """Where a tool came from, as a fact has it."""
    if tool.source == "configured":
        return "file", tool.python
    return "default", "the environment stackctl runs in" if tool.source == "own" else "managed environment"
