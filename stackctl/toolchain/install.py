"""Make a managed environment with uv from a lock: whole or not at all, shared, byte-compiled."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from stackctl import process
from stackctl.errors import PreflightError, StackError
from stackctl.toolchain import atomic, failures
from stackctl.toolchain.builds import OVERRIDE, Build, build_of, lock_digest
from stackctl.toolchain.interpreter import choose
from stackctl.toolchain.progress import Narrator, pulse
from stackctl.toolchain.sources import Sources, sources
from stackctl.toolchain.uv import uv_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackctl.toolchain.types import Toolchain

_TIMEOUT = 3 * 3600.0  # seconds; five gigabytes on a slow line


def install(toolchain: Toolchain, *, on_progress: Callable[[str], None]) -> Toolchain:
    """Install a managed toolchain that is not installed yet; return it as installed.

    `on_progress` gets short lines for people. Two installs at once make one. Raises StackError with the cause (no
    network, wrong hash, disk full, no torch for this machine) and the remedy, PreflightError when the toolchain is
    one that the user named and that lacks its package.
    """
    if toolchain.installed:
        return toolchain
    if toolchain.source != "managed":
        raise PreflightError(
            f"{toolchain.python} has no {toolchain.package} installed",
            remedy=f"install {toolchain.package} there, or leave `python:` out and stackctl makes an environment",
        )
    build = build_of(toolchain.kind, toolchain.package)
    root = os.path.dirname(os.path.dirname(toolchain.python))

    def fill(directory: str) -> dict[str, object]:
        _create(directory, build, on_progress)
        return {"package": build.package, "version": build.version, "python": choose().minor}

    atomic.make_directory(root, lock_digest(build), fill, on_progress)
    return replace(toolchain, installed=True)


def install_beside(python: str, target: str, lock_path: str, *, on_progress: Callable[[str], None]) -> None:
    """Put what a lock names, without dependencies, into the directory `target`, for the interpreter `python`."""
    found = sources()
    arguments = [*("--python", python, "--target", target, "--no-deps"), "-r", lock_path]
    _install(found, arguments, os.path.dirname(target), "the embedded model", on_progress)


def _create(directory: str, build: Build, on_progress: Callable[[str], None]) -> None:
    found = sources()
    what = f"{build.package} {build.version}"
    on_progress(f"Installing {what}")
    # --relocatable: it gets its name by a rename, so no script in it may hold a path.
    venv = ["venv", "--quiet", "--relocatable", "--allow-existing", "--python", choose().path, directory]
    _uv(venv, found, directory, what, on_progress)
    arguments = [*("--python", os.path.join(directory, "bin", "python"), "--compile-bytecode"), "-r", build.lock_path]
    if build.overrides:
        arguments += ["--override", OVERRIDE]
    if build.accelerator != "cpu":
        _install(found, arguments, directory, what, on_progress)
        return
    # torch+cpu is on no general index. The user's own places are asked first; only when they have none (or there are
    # none) is PyTorch's own index, which uv knows, used for torch.
    fallback = [*arguments, "--torch-backend", "cpu"]
    if not found.custom:
        _install(found, fallback, directory, what, on_progress)
        return
    try:
        _install(found, arguments, directory, what, on_progress)
    except failures.NoTorchError:
        if found.flags:  # --no-index: the user wants nothing from elsewhere
            raise
        on_progress("Your package sources have no torch for CPUs: asking PyTorch's own index")
        _install(found, fallback, directory, what, on_progress)


def _install(found: Sources, arguments: Sequence[str], cwd: str, what: str, on_progress: Callable[[str], None]) -> None:
    """Install what is locked; with extra indexes first, without them when that fails.

    pip joins the files that all indexes have of a release; uv takes the release from the first index that has it,
    so a mirror that holds a part of its files hides the right one, and the hash check then refuses the wrong one.
    """
    # --no-build: wheels only, so nothing that was downloaded runs before its check is over.
    argv = ["pip", "install", "--no-build", *found.flags, *arguments]
    try:
        _uv(argv, found, cwd, what, on_progress)
    except failures.WrongFilesError as first:
        if not found.extra:
            raise
        on_progress("Your extra package index does not have the locked files: asking the main one alone")
        try:
            _uv(argv, found.without_extra(), cwd, what, on_progress)
        except StackError:
            raise first from None


def _uv(arguments: Sequence[str], found: Sources, cwd: str, what: str, on_progress: Callable[[str], None]) -> None:
    """Run uv; `cwd` is a directory of ours, as uv reads settings from the working directory."""
    narrator = Narrator(on_progress)
    try:
        with pulse(narrator):
            done = process.run(
                [uv_binary(), *arguments], env=found.env, cwd=cwd, timeout=_TIMEOUT, on_line=narrator.line
            )
    except process.RunTimeoutError as error:
        raise StackError(
            f"installing {what} took more than {_TIMEOUT / 3600:g} hours",
            remedy="try again: what was downloaded is kept",
        ) from error
    if done.returncode != 0:
        raise failures.explain(done.output, what)
