"""Whether a toolchain may run: security floors, deny list, files of known malware, tested versions.

Everything is read from files. A Python with a bad package is never started, as the malware runs at its start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl.model import Finding, Status
from stackctl.toolchain import policy
from stackctl.toolchain.installed import distributions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packaging.version import Version

    from stackctl.toolchain.types import Toolchain

_CLEAN = (
    "do not start this Python; remove the environment, replace every credential that this account can read,"
    " and leave `python:` out so that stackctl makes a clean one"
)


def check(toolchain: Toolchain, *, allow_untested: bool) -> tuple[Finding, ...]:
    """What speaks against running this toolchain, as findings; a single `ok` when nothing does.

    `allow_untested` turns the failure for an untested version into a warning; nothing turns off the floors, the deny
    list and the file scan.
    """
    versions: Mapping[str, tuple[str, ...]] = {}
    found = list(_bad_files(toolchain))
    if toolchain.installed:
        versions = distributions(toolchain.site_packages)
    elif toolchain.source == "managed":  # it will be made from the lock, whose versions a test checks
        versions = {toolchain.package: (toolchain.version,)}
    if toolchain.package not in versions:
        found.append(_unseen(toolchain))
    found += _denied(toolchain, versions)
    found += _floors(toolchain, versions)
    found += _tested(toolchain, versions, allow_untested=allow_untested)
    return tuple(found) or (Finding(f"toolchain.{toolchain.kind}", Status.OK),)


def _bad_files(toolchain: Toolchain) -> Iterator[Finding]:
    for directory in toolchain.site_packages:
        for bad in policy.BAD_FILES:
            path = os.path.join(directory, bad.name)
            near = not bad.beside or any(os.path.lexists(os.path.join(directory, each)) for each in bad.beside)
            if near and os.path.lexists(path):
                yield _fail(toolchain, "malware", f"{path} is malware, {bad.why}", _CLEAN)
    for bad in policy.BAD_HOME_FILES:
        path = os.path.join(os.path.expanduser("~"), bad.name)
        if os.path.lexists(path):
            yield _fail(
                toolchain,
                "malware",
                f"{path} looks like malware, {bad.why}",
                "look at that file and at what starts it; if it is yours, move it elsewhere;"
                " if not, replace every credential that this account can read",
            )


def _denied(toolchain: Toolchain, versions: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    for row in policy.DENIED:
        for version in versions.get(row.package, ()):
            if any(_same(version, each) for each in row.versions):
                yield _fail(toolchain, "denied", f"{row.package} {version} must never run: {row.why}", _CLEAN)


def _floors(toolchain: Toolchain, versions: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    from packaging.version import Version

    for row in policy.FLOORS:
        for version in versions.get(row.package, ()):
            parsed = _parse(version)
            if parsed is None or parsed < Version(row.oldest):
                yield _fail(
                    toolchain,
                    f"floor.{row.package}",
                    f"{row.package} {version} is too old to be safe: {row.why}",
                    f"{_pip(toolchain)} install --upgrade '{row.package}>={row.oldest}'",
                )


def _tested(
    toolchain: Toolchain, versions: Mapping[str, tuple[str, ...]], *, allow_untested: bool
) -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet

    for row in policy.TESTED:
        if toolchain.package not in row.packages:
            continue
        for version in versions.get(toolchain.package, ()):
            if _parse(version) is None or SpecifierSet(row.versions).contains(version, prereleases=True):
                continue  # what cannot be parsed has failed at the floor
            yield Finding(
                f"toolchain.{toolchain.kind}.untested",
                Status.WARN if allow_untested else Status.FAIL,
                f"{toolchain.package} {version} is untested with stackctl ({row.versions.replace(',', ', ')} is tested)",
                (f"found by {toolchain.python}",),
                "" if allow_untested else "set `allow_untested: true`, or leave `python:` out for a tested version",
            )


def _unseen(toolchain: Toolchain) -> Finding:
    if toolchain.site_packages:
        return _fail(
            toolchain,
            "missing",
            f"{toolchain.python} has no {toolchain.package} installed",
            f"{_pip(toolchain)} install {toolchain.package}, or leave `python:` out so that stackctl installs it",
        )
    return _fail(
        toolchain,
        "unseen",
        f"cannot see what is installed for {toolchain.python}: it is no interpreter in an environment (a shim?)",
        "give the interpreter itself, as printed by: python -c 'import sys; print(sys.executable)'",
    )


def _fail(toolchain: Toolchain, what: str, cause: str, remedy: str) -> Finding:
    return Finding(f"toolchain.{toolchain.kind}.{what}", Status.FAIL, cause, (f"found by {toolchain.python}",), remedy)


def _pip(toolchain: Toolchain) -> str:
    return f"{toolchain.python} -m pip"


def _parse(version: str) -> Version | None:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version)
    except InvalidVersion:
        return None


def _same(version: str, other: str) -> bool:
    parsed, bad = _parse(version), _parse(other)
    return version == other or (parsed is not None and bad is not None and parsed.public == bad.public)
