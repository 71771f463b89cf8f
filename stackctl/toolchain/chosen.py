"""Which managed environment is in use: what `stackctl upgrade` proved and switched to, else this version's own.

The choice is one small file, replaced by a rename: whatever kills an upgrade, either the old environment is in use or
the new one is. Without a choice an older environment that may still run goes on being used, so that a new version of
stackctl starts at once, and `upgrade` says when five gigabytes are fetched.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from stackctl import files, paths
from stackctl.model import Status
from stackctl.toolchain import marker
from stackctl.toolchain.builds import BUILDS, build_of
from stackctl.toolchain.check import check
from stackctl.toolchain.environment import managed
from stackctl.toolchain.types import Toolchain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackctl.toolchain.builds import Build

SCHEMA = 1
_NAME = re.compile(
    r"(?P<kind>engine|gateway)-(?P<package>.+)-(?P<version>[^-]+)-(?P<lock>[0-9a-f]{12})-py(?P<minor>3\.\d+)"
)


def root_of(tool: Toolchain) -> str:
    """The directory of a managed environment."""
    return os.path.dirname(os.path.dirname(tool.python))


def current(build: Build) -> Toolchain:
    """The environment to run a build's service with; not installed where there is none at all."""
    own = managed(build)
    named = _named(build, _choices().get(_key(build), {}).get("now", ""))
    if named is not None:
        return named
    return own if own.installed else _older(build) or own


def waiting(tool: Toolchain) -> str:
    """What `upgrade` would put in the place of a managed environment, as `package version`; empty when nothing."""
    if tool.source != "managed":
        return ""
    own = managed(build_of(tool.kind, tool.package))
    return f"{own.package} {own.version}" if own.python != tool.python else ""


def previous(build: Build) -> Toolchain | None:
    """The environment that was in use before the last switch; None when there is none any more."""
    return _named(build, _choices().get(_key(build), {}).get("before", ""))


def pin(tools: Iterable[tuple[Build, Toolchain]]) -> None:
    """Keep these in use, whatever is installed beside them."""
    choices = _choices()
    for build, tool in tools:
        choices[_key(build)] = {**choices.get(_key(build), {}), "now": os.path.basename(root_of(tool))}
    _write(choices)


def switch(tools: Iterable[tuple[Build, Toolchain]]) -> None:
    """Put these in use, all at once, and remember what was before."""
    choices = _choices()
    for build, tool in tools:
        before, now = current(build), os.path.basename(root_of(tool))
        known = {"before": os.path.basename(root_of(before))} if before.installed else {}
        choices[_key(build)] = {"now": now, **known}
    _write(choices)


def _key(build: Build) -> str:
    return f"{build.kind}-{build.package}"


def _choices() -> dict[str, dict[str, str]]:
    """What was chosen; a file that cannot be used counts as none."""
    try:
        raw = json.loads(files.read_private(paths.environments_file()))
        return {str(key): {str(name): str(value) for name, value in row.items()} for key, row in raw["chosen"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(choices: dict[str, dict[str, str]]) -> None:
    files.private_dir(paths.home())
    text = json.dumps({"schema": SCHEMA, "chosen": choices}, indent=1, sort_keys=True)
    files.write_private(paths.environments_file(), text + "\n")


def _named(build: Build, name: str) -> Toolchain | None:
    """A whole environment of this kind by its name, unless it may not run any more (a security floor, the tested range)."""
    own = managed(build)
    if name == os.path.basename(root_of(own)):
        return own if own.installed else None
    match = _NAME.fullmatch(name)
    if match is None or (match["kind"], match["package"]) != (build.kind, build.package):
        return None
    root = os.path.join(paths.envs_dir(), name)
    if not marker.read(root).get("lock", "").startswith(match["lock"]):
        return None
    tool = Toolchain(
        kind=build.kind,
        python=os.path.join(root, "bin", "python"),
        package=build.package,
        version=match["version"],
        source="managed",
        installed=True,
        site_packages=(os.path.join(root, "lib", f"python{match['minor']}", "site-packages"),),
    )
    refused = any(each.status is Status.FAIL for each in check(tool, allow_untested=False))
    return None if refused else tool


def _older(build: Build) -> Toolchain | None:
    """The newest other environment of this kind."""
    from packaging.version import Version

    try:
        names = os.listdir(paths.envs_dir())
    except OSError:
        return None
    found = [tool for name in names if (tool := _named(build, name)) is not None]
    return max(found, key=lambda tool: (Version(tool.version), root_of(tool)), default=None)


def in_use() -> tuple[list[str], list[str]]:
    """The directories of the environments in use, and of those that `upgrade --back` would return to."""
    now = [root_of(tool) for tool in map(current, BUILDS) if tool.installed]
    before = [root_of(tool) for tool in map(previous, BUILDS) if tool is not None]
    return now, [each for each in before if each not in now]
