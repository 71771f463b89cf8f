"""Machines and toolchains to plan for, without being one.

The readings in tests/unit/hosts have the shape that `stackctl.host.readings` gives, with the numbers that such
machines report (a card of "24 GB" has 24564 MiB by NVML, and a display holds some of it).
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

from stackctl import config, sizes
from stackctl.catalog import families
from stackctl.host import GIB, Gpu, Host
from stackctl.host.interpret import interpret
from stackctl.model import ServiceKind
from stackctl.plan import EngineInputs, Inputs, RemoteFacts
from stackctl.toolchain import Toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.config import Flags

_HOSTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "unit", "hosts")
NAMES = tuple(sorted(name.removesuffix(".json") for name in os.listdir(_HOSTS)))


def readings(name: str) -> dict[str, Any]:
    """The recorded readings of a machine, by its file's name."""
    with open(os.path.join(_HOSTS, f"{name}.json"), encoding="utf-8") as stream:
        found: dict[str, Any] = json.load(stream)
    return found


def host(name: str) -> Host:
    """A recorded machine, read by the same code as a real one."""
    return interpret(readings(name))


CPU = Host(
    system="Linux", machine="x86_64", cpus=8, memory_total=64 * GIB, memory_available=60 * GIB, shm_free=32 * GIB
)
RTX4090 = Gpu(0, "NVIDIA GeForce RTX 4090", 24 * GIB, int(23.8 * GIB), "580.65.06", (8, 9))
GPU = dataclasses.replace(CPU, gpus=(RTX4090,))
GPU_WITH_DISPLAY = dataclasses.replace(CPU, gpus=(dataclasses.replace(RTX4090, memory_free=20 * GIB),))

ENGINE = Toolchain(
    ServiceKind.ENGINE, "/envs/engine/bin/python", "vllm", "0.33.0", "managed", True, ("/envs/engine/lib",)
)
GATEWAY = Toolchain(ServiceKind.GATEWAY, "/envs/gateway/bin/python", "litellm", "1.106.2", "managed", True, ())


def inputs(flags: Flags, host: Host = GPU, remote: RemoteFacts | None = None) -> Inputs:
    """What `planning` would hand to the planner, on `host`, with paths that are the same everywhere."""
    loaded = config.load(flags, {})
    gateway = loaded.config.gateway
    ports = iter(range(8000, 9000))
    return Inputs(
        loaded=loaded,
        host=host,
        engines=tuple(_engine(loaded, name, host, remote, ports) for name in loaded.engines),
        gateway_port=gateway.port,
        gateway_tool=GATEWAY if gateway.kind == "litellm" else None,
        config_path="/stack/gateway/litellm_config.yaml",
    )


def _engine(
    loaded: config.Loaded, name: str, host: Host, remote: RemoteFacts | None, ports: Iterator[int]
) -> EngineInputs:
    engine, gateway = loaded.engines[name], loaded.config.gateway
    if engine.url is not None:
        return EngineInputs(loaded, name, host, 0, None, None, remote=remote)
    model = str(engine.model)
    written = f"engines.{name}.port" in loaded.facts
    port = gateway.port if gateway.kind == "direct" else engine.port if written else next(ports)
    return EngineInputs(
        loaded=loaded,
        name=name,
        host=host,
        port=port,
        tool=ENGINE if engine.command is None else None,
        model_path="/models/embedded" if model == config.EMBEDDED else None,
        family=families.match(model) if engine.command is None else None,
        size=sizes.size_of(model) if engine.command is None else None,
        templates_dir="/envs/chat-templates",
    )
