"""Which ports a stack uses. The default stack has those of its configuration; others get free ones, and keep them."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

from stackctl import files
from stackctl.names import DEFAULT_NAME

if TYPE_CHECKING:
    from stackctl.config import Loaded
    from stackctl.paths import StackPaths


def choose(loaded: Loaded, paths: StackPaths) -> tuple[int, int]:
    """The (engine, gateway) ports; nothing is written here: the supervisor records them once the stack is its own."""
    chosen = {"engine": loaded.engine.port, "gateway": loaded.config.gateway.port}
    if loaded.config.name == DEFAULT_NAME:
        return chosen["engine"], chosen["gateway"]
    recorded = _recorded(paths)
    for service, path in (("engine", f"engines.{loaded.engine_name}.port"), ("gateway", "gateway.port")):
        if path not in loaded.facts:
            taken = [port for other, port in chosen.items() if other != service]
            chosen[service] = recorded.get(service) or _free(taken)
    return chosen["engine"], chosen["gateway"]


def _recorded(paths: StackPaths) -> dict[str, int]:
    try:
        data = json.loads(files.read_private(paths.ports))
        return {name: int(data[name]) for name in ("engine", "gateway")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _free(taken: list[int]) -> int:
    """A port that is free on loopback now."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        if port not in taken:
            return port
