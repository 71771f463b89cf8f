"""Facts of this machine: read-only, quick, and never an exception."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU as NVML sees it; memory in bytes, `driver` like 580.65.06."""

    index: int
    name: str
    memory_total: int
    memory_free: int
    driver: str
    compute_capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Host:
    """This machine. Memory in bytes; `gpu_problem` says why no GPU is seen although there should be one."""

    system: str
    machine: str
    cpus: int
    memory_total: int
    memory_available: int
    shm_free: int | None
    gpus: tuple[Gpu, ...] = ()
    gpu_problem: str = ""

    @property
    def accelerator(self) -> str:
        """`cuda` or `cpu`: which build of vLLM serves here."""
        return "cuda" if self.gpus else "cpu"

    def disk_free(self, path: str) -> int:
        """Free bytes for this user on the file system that `path` is, or will be, on."""
        while not os.path.exists(path):
            path = os.path.dirname(path) or "/"
        return shutil.disk_usage(path).free


def inspect() -> Host:
    """Look at the machine, in well under 300 ms without a GPU."""
    import psutil

    memory = psutil.virtual_memory()
    gpus, problem = _gpus()
    return Host(
        system=platform.system(),
        machine=platform.machine(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        memory_total=memory.total,
        memory_available=memory.available,
        shm_free=shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else None,  # noqa: S108 - read only
        gpus=gpus,
        gpu_problem=problem,
    )


def _gpus() -> tuple[tuple[Gpu, ...], str]:
    """The GPUs, or why there is none although a driver is installed."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return (), ""  # no driver installed: a machine without a GPU
    except pynvml.NVMLError as error:
        return (), f"the NVIDIA driver does not answer: {error}"
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            found.append(
                Gpu(
                    index=index,
                    name=_text(pynvml.nvmlDeviceGetName(handle)),
                    memory_total=int(memory.total),
                    memory_free=int(memory.free),
                    driver=driver,
                    compute_capability=(int(major), int(minor)),
                )
            )
    except pynvml.NVMLError as error:
        return (), f"the NVIDIA driver does not answer: {error}"
    else:
        return tuple(found), ""
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
