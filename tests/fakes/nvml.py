"""The library of NVIDIA's driver, as a machine with one GPU has it: what NVML's own functions say, compiled here."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SOURCE = r"""
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *to, unsigned size) { strncpy(to, DRIVER, size); return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **to) { *to = (void *)1; return 0; }
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *to) {
    to[0] = 24ULL << 30; to[1] = 23ULL << 30; to[2] = 1ULL << 30; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { *major = 8; *minor = 9; return 0; }
int nvmlDeviceGetName(void *device, char *to, unsigned size) { strncpy(to, "NVIDIA GeForce RTX 4090", size); return 0; }
int nvmlDeviceGetUUID(void *device, char *to, unsigned size) { strncpy(to, "GPU-0", size); return 0; }
const char *nvmlErrorString(int code) { return "an error"; }
"""


def library(place: Path, driver: str) -> Path:
    """A directory with the library of a `driver` of this version, for LD_LIBRARY_PATH."""
    place.mkdir()
    subprocess.run(
        ["cc", "-shared", "-fPIC", f'-DDRIVER="{driver}"', "-x", "c", "-", "-o", str(place / "libnvidia-ml.so.1")],
        input=_SOURCE, text=True, check=True, capture_output=True,
    )  # fmt: skip
    return place
