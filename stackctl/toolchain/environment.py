"""The managed environment that a build makes: its name, and where it lives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import paths
from stackctl.toolchain.builds import lock_digest
from stackctl.toolchain.interpreter import choose
from stackctl.toolchain.marker import is_complete
from stackctl.toolchain.types import Toolchain

if TYPE_CHECKING:
    from stackctl.toolchain.builds import Build


def managed(build: Build) -> Toolchain:
    """The managed environment of a build, installed or not."""
    python = choose()
    root = environment_path(build, python.minor)
    return Toolchain(
        kind=build.kind,
        python=os.path.join(root, "bin", "python"),
        package=build.package,
        version=build.version,
        source="managed",
        installed=is_complete(root, lock_digest(build)),
        site_packages=(os.path.join(root, "lib", f"python{python.minor}", "site-packages"),),
    )


def environment_path(build: Build, minor: str) -> str:
    """Where a build's environment lives: another lock or interpreter is another environment."""
    name = f"{build.kind}-{build.package}-{build.version}-{lock_digest(build)[:12]}-py{minor}"
    return os.path.join(paths.envs_dir(), name)
