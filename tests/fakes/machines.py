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
from stackctl.plan import Inputs, RemoteFacts
from stackctl.toolchain import Toolchain

if TYPE_CHECKING:
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
    engine, gateway = loaded.engine, loaded.config.gateway
    managed = engine.url is None and engine.command is None
    return Inputs(
        loaded=loaded,
        host=host,
        ports=(engine.port, gateway.port),
        engine_tool=ENGINE if managed else None,
        gateway_tool=GATEWAY if gateway.kind == "litellm" else None,
        model_path="/models/embedded" if engine.model == config.EMBEDDED else None,
        config_path="/stack/gateway/litellm_config.yaml",
        family=families.match(engine.model) if engine.model and managed else None,
        remote=remote,
        size=sizes.size_of(engine.model) if engine.model and managed else None,
    )
