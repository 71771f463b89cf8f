"""Which ports a stack uses. The default stack has those of its configuration; others get free ones, and keep them."""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stackctl import files
from stackctl.names import DEFAULT_NAME

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from stackctl.config import Loaded
    from stackctl.paths import StackPaths


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the engines that are started here, by their names, and the gateway's."""

    engines: Mapping[str, int]
    gateway: int

    def record(self) -> dict[str, Any]:
        """What is written down, to be kept."""
        return {"engines": dict(self.engines), "gateway": self.gateway}


def choose(loaded: Loaded, paths: StackPaths) -> Ports:
    """The ports of the stack; nothing is written here: the supervisor records them once the stack is its own.

    What the configuration says counts, in the default stack with the usual ones; then what was recorded, then what is free.
    """
    usual = loaded.config.name == DEFAULT_NAME
    recorded = _recorded(paths)
    gateway = loaded.config.gateway.port
    fixed = {
        name: engine.port
        for name, engine in loaded.managed.items()
        if f"engines.{name}.port" in loaded.facts or (usual and len(loaded.managed) == 1)
    }
    if not usual and "gateway.port" not in loaded.facts:
        gateway = recorded.gateway or free({*fixed.values()})
    engines = dict(fixed)
    for name, engine in loaded.managed.items():
        if name in engines:
            continue
        taken = {gateway, *engines.values(), *fixed.values()}
        kept = recorded.engines.get(name)
        if usual and engine.port not in taken:
            engines[name] = engine.port
        else:
            engines[name] = kept if kept and kept not in taken else _next(engine.port, taken) if usual else free(taken)
    return Ports({name: engines[name] for name in loaded.managed}, gateway)


def _recorded(paths: StackPaths) -> Ports:
    """What was written down; zero and nothing where that cannot be read."""
    try:
        data = json.loads(files.read_private(paths.ports))
        return Ports({str(name): int(port) for name, port in data["engines"].items()}, int(data["gateway"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Ports({}, 0)


def _next(port: int, taken: Container[int]) -> int:
    """The first port from `port` on that is free on loopback now."""
    for each in range(port, 1 << 16):
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", each))
            if each not in taken:
                return each
    return free(taken)


def free(taken: Container[int]) -> int:
    """A port that is free on loopback now."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        if port not in taken:
            return port
