"""What a machine must have before gigabytes are downloaded for it."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stackctl import paths
from stackctl.model import Finding, ServiceKind, Status
from stackctl.toolchain.builds import GB, MACHINES, PYTHONS, Build, build_for
from stackctl.toolchain.interpreter import Interpreter, choose
from stackctl.toolchain.sources import sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.toolchain.types import Host

_ELSEWHERE = "point at an engine that runs elsewhere, in stack.yaml:  engines: {mine: {url: http://HOST:8000}}"


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked of the machine itself, apart from `Host`; the defaults are what it is."""

    system: str = field(default_factory=platform.system)
    machine: str = field(default_factory=platform.machine)
    libc: tuple[str, str] = field(default_factory=platform.libc_ver)
    python: Interpreter = field(default_factory=choose)
    compiler: str | None = field(default_factory=lambda: _compiler())  # noqa: PLW0108 - defined below


def requirements(
    kind: ServiceKind, accelerator: str, host: Host, machine: Machine | None = None
) -> tuple[Finding, ...]:
    """What this machine lacks for the managed environment of a service; nothing is downloaded or written.

    `accelerator` is `cuda` or `cpu`. A single `ok` when nothing is missing.
    """
    here = machine or Machine()
    found = list(_platform(kind, here))
    if not found:  # the others make no sense on a machine for which there is no wheel
        build = build_for(kind, accelerator)
        found += [*_python(here), *_glibc(build, here), *_disk(build, host)]
        if accelerator == "cuda" and kind == ServiceKind.ENGINE:
            found += [*_driver(build, host), *_triton(here)]
    return tuple(found) or (Finding(f"requirements.{kind}", Status.OK),)


def _platform(kind: ServiceKind, here: Machine) -> Iterator[Finding]:
    name = {"Darwin": "macOS", "Windows": "Windows"}.get(here.system, here.system)
    if here.system != "Linux":
        if kind == ServiceKind.GATEWAY:
            if here.system == "Windows":
                yield _fail(
                    "platform", "stackctl runs on Windows only inside WSL 2", "wsl --install, then start it there"
                )
            return
        wsl = " or run stackctl inside WSL 2" if here.system == "Windows" else ""
        yield _fail("platform", f"vLLM cannot be installed on {name}", f"{_ELSEWHERE}{wsl}")
    elif here.machine not in MACHINES:
        what = "vLLM" if kind == ServiceKind.ENGINE else "LiteLLM"
        yield _fail("platform", f"there is no {what} wheel for {here.machine} processors", _ELSEWHERE)


def _python(here: Machine) -> Iterator[Finding]:
    if not here.python.supported:
        oldest, newest = (".".join(map(str, each)) for each in (PYTHONS[0], PYTHONS[-1]))
        yield _fail(
            "python",
            f"Python {here.python.minor} is outside the range of vLLM and LiteLLM ({oldest} to {newest})",
            f"install one of them (python{newest} on PATH is enough), or run stackctl with it",
        )


def _glibc(build: Build, here: Machine) -> Iterator[Finding]:
    if here.system != "Linux":
        return
    name, version = here.libc
    need = build.glibc[here.machine]
    wanted = ".".join(map(str, need))
    if name != "glibc":
        yield _fail(
            "glibc",
            f"the wheels of {build.package} need glibc {wanted} and this system has none (musl, as in Alpine?)",
            f"use a glibc distribution such as Debian or Ubuntu, or {_ELSEWHERE}",
        )
    elif tuple(int(part) for part in version.split(".")[:2]) < need:
        yield _fail(
            "glibc",
            f"the wheels of {build.package} need glibc {wanted} and this system has {version}",
            f"use a newer distribution (Debian 12, Ubuntu 22.04), or {_ELSEWHERE}",
        )


def _disk(build: Build, host: Host) -> Iterator[Finding]:
    target = paths.envs_dir()
    free, need = host.disk_free(target), build.disk
    if free < need:
        yield _fail(
            "disk",
            f"{build.package} needs {need / GB:.1f} GB and {free / GB:.1f} GB are free on the disk of {target}",
            "free some space, or set STACKCTL_ENVS to a directory on another disk",
            shlex.join(("space", target, str(need))),
        )
        return
    cache = _uv_cache()
    free, need = host.disk_free(cache), build.download
    if free < need:
        yield _fail(
            "disk",
            f"the download of {build.package} needs {need / GB:.1f} GB and {free / GB:.1f} GB are free"
            f" on the disk of {cache}",
            "free some space (uv cache clean), or set UV_CACHE_DIR to a directory on another disk",
            shlex.join(("space", cache, str(need))),
        )


def _driver(build: Build, host: Host) -> Iterator[Finding]:
    from packaging.version import InvalidVersion, Version

    for gpu in host.gpus:
        try:
            too_old = Version(gpu.driver) < Version(build.driver)
        except InvalidVersion:
            too_old = False  # a driver that names itself otherwise: the engine's own start says more
        if too_old:
            yield Finding(
                "requirements.driver",
                Status.FAIL,
                f"the NVIDIA driver {gpu.driver} is too old for {build.package} {build.version}: it needs {build.driver}",
                (f"{gpu.name}, driver {gpu.driver}", build.driver_source),
                f"install driver {build.driver.split('.')[0]} or newer and reboot,"
                " or name an environment built for your driver with `python:`",
            )
            return


def _triton(here: Machine) -> Iterator[Finding]:
    if here.compiler is None:
        yield _fail(
            "compiler",
            "no C compiler: vLLM's Triton compiles GPU launchers when the engine starts",
            "install one (Debian, Ubuntu: apt install gcc), or name it with CC",
        )
    if not os.path.isfile(here.python.header):
        yield _fail(
            "headers",
            f"no Python headers for {here.python.path}: vLLM's Triton compiles against {here.python.header}",
            f"install them (Debian, Ubuntu: apt install python{here.python.minor}-dev)",
        )


def _compiler() -> str | None:
    """What Triton would use: $CC, else gcc or clang (and their usual name cc)."""
    named = os.environ.get("CC", "").split()
    return shutil.which(named[0]) if named else next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def _uv_cache() -> str:
    env = sources().env
    default = os.path.join(env.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "uv")
    return os.path.abspath(env.get("UV_CACHE_DIR") or default)


def _fail(what: str, cause: str, remedy: str, fix: str = "") -> Finding:
    return Finding(f"requirements.{what}", Status.FAIL, cause, remedy=remedy, fix=fix)
