"""Facts of this machine: read-only, quick, and never an exception.

Two steps: `readings.take()` writes down what the machine says (plain JSON, so that one machine's can be recorded and
read on another), and `interpret()` makes a `Host` of it. Tests feed recorded readings through the same second step.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Literal

GIB = 1024**3
DISK_FLOOR = GIB // 2  # bytes that logs, state and compilation caches of a run want

Vendor = Literal["nvidia", "amd"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; memory in bytes.

    NVIDIA's are as NVML sees them (`driver` like 580.65.06, `compute_capability` like (8, 9)), in PCI bus order. AMD's
    come from the kernel's amdgpu driver: `architecture` like gfx1100, and a compute capability of (0, 0).
    """

    index: int
    name: str
    memory_total: int
    memory_free: int
    driver: str
    compute_capability: tuple[int, int]
    uuid: str = ""
    vendor: Vendor = "nvidia"
    architecture: str = ""


@dataclass(frozen=True, slots=True)
class NumaNode:
    """One memory node; bytes. vLLM on a CPU binds its memory to one of them."""

    index: int
    memory_total: int
    memory_free: int


@dataclass(frozen=True, slots=True)
class Host:
    """This machine. Memory in bytes, within the limit of a container.

    `gpus` are NVIDIA's (what PyPI's vLLM serves on), less those that CUDA_VISIBLE_DEVICES hides; `amd` are AMD's, which
    need an environment of your own. `gpu_problem` says why a GPU that should be there is not, `container` is empty or
    names what this runs in (docker, podman, kubernetes, lxc). `cache_free` is free on the disk of the model cache.
    """

    system: str
    machine: str
    cpus: int
    memory_total: int
    memory_available: int
    shm_free: int | None
    gpus: tuple[Gpu, ...] = ()
    gpu_problem: str = ""
    amd: tuple[Gpu, ...] = ()
    cpu_model: str = ""
    cpu_features: tuple[str, ...] = ()
    numa: tuple[NumaNode, ...] = ()
    memory_limited: bool = False
    container: str = ""
    wsl: bool = False
    cache_free: int | None = None

    @property
    def accelerator(self) -> str:
        """`cuda` or `cpu`: which build of vLLM serves here."""
        return "cuda" if self.gpus else "cpu"

    @property
    def is_mac(self) -> bool:
        """Whether this is macOS, for which no build of vLLM can be installed."""
        return self.system == "Darwin"

    def disk_free(self, path: str) -> int:
        """Free bytes for this user on the file system that `path` is, or will be, on."""
        return free_on(path)

    def summary(self) -> str:
        """The machine in a line: what plans are made for."""
        memory = f"{self.memory_total / GIB:.0f} GiB of memory"
        if cards := self.gpus or self.amd:
            kinds = {(card.name, round(card.memory_total / GIB)) for card in cards}
            shown = ", ".join(
                f"{count}x {name} ({size} GiB)"
                for name, size in sorted(kinds)
                for count in [sum((card.name, round(card.memory_total / GIB)) == (name, size) for card in cards)]
            )
            return f"{shown}, {memory}"
        return f"{self.cpu_model or self.machine}, {self.cpus} CPUs, {memory}, no GPU"


def free_on(path: str) -> int:
    """Free bytes for this user where `path` is, or would be made."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    return shutil.disk_usage(path).free


def inspect(cache: str = "") -> Host:
    """Look at the machine, in well under 300 ms; `cache` is the directory that models are kept in."""
    from stackctl.host import readings
    from stackctl.host.interpret import interpret

    return interpret(readings.take(cache))


__all__ = ["GIB", "Gpu", "Host", "NumaNode", "Vendor", "free_on", "inspect"]
