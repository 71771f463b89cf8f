"""`stackctl trust`: let the stack.yaml of a working directory, or the own code of a model, be used as it is now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import checkpoint, fetch, output, own_code, paths, planning, sizes
from stackctl import trust as trusting
from stackctl.catalog import families
from stackctl.checks import code as checks
from stackctl.config import EMBEDDED
from stackctl.errors import ConfigError
from stackctl.output import Outcome

if TYPE_CHECKING:
    from stackctl.model import Finding
    from stackctl.plan import EnginePlan
    from stackctl.planning import Prepared


def run(path: str | None) -> Outcome:
    """Trust the content of `path` (./stack.yaml). Raises ConfigError when there is no such file."""
    target = os.path.abspath(path or paths.LOCAL_FILE)
    if not os.path.isfile(target):
        raise ConfigError(
            f"there is no file {target}", remedy="go to the directory of the stack.yaml, or name the file"
        )
    digest = trusting.add(target)
    return Outcome(
        lines=[f"stackctl: {target} is trusted as it is now (sha256 {digest[:12]}); after a change it asks again"],
        data={"file": target, "sha256": digest},
    )


def code(named: str) -> Outcome:
    """Agree to run the code that comes with `MODEL` or `MODEL@REVISION`; that of another revision is asked for again.

    Raises ConfigError for a model without code, and what the hub's look-up raises (PreflightError, StackError).
    """
    model, _, revision = (named, "", "") if fetch.is_local(named) else named.partition("@")
    directory = sizes.directory(model, revision or None)
    if directory is None:
        if fetch.is_local(model):
            raise ConfigError(f"there is no directory {model}", remedy="name a hub id, or a model's directory")
        directory = fetch.head(model, revision=revision or None).directory
    names = checkpoint.code_files(directory)
    if not names:
        raise ConfigError(f"{model} brings no code of its own", remedy="nothing has to be agreed to")
    found = own_code.revision(model, directory)
    trusting.add_code(own_code.named(model), found)
    return Outcome(
        lines=[
            f"stackctl: the code of {model} may be run, at {found[:12]}: {', '.join(names)} in {directory}",
            "stackctl: that of any other revision is asked for again",
        ],
        data={"model": own_code.named(model), "revision": found, "files": list(names), "directory": directory},
    )


def asked(prepared: Prepared, *, yes: bool) -> Prepared:
    """Ask on the terminal for what the models that are here need; return the plan that follows from the answers.

    `--yes` is no such agreement: then, without a terminal, or after a no, the checks refuse to start.
    """
    agreed = [
        _asked(prepared, engine, directory, yes=yes)
        for engine in prepared.plan.managed
        if (directory := checks.files(prepared, engine))
    ]
    return planning.decide(prepared.loaded, prepared.host, heads=prepared.heads) if any(agreed) else prepared


def before_download(prepared: Prepared, *, yes: bool) -> list[Finding]:
    """The same for models that are not here yet, before gigabytes are fetched; what still stands in the way."""
    found: list[Finding] = []
    for engine in prepared.plan.managed:
        config, family = prepared.loaded.engines[engine.name], families.match(engine.model)
        if config.command or config.trust_remote_code or engine.model == EMBEDDED or fetch.is_local(engine.model):
            continue
        if checks.files(prepared, engine) or not (family is None or family.needs_remote_code):
            continue
        head = prepared.heads.get(engine.name) or fetch.head(engine.model, revision=config.revision)
        directory = head.directory
        _asked(prepared, engine, directory, yes=yes)
        found += checks.in_files(prepared, engine, directory)
    return found


def _asked(prepared: Prepared, engine: EnginePlan, directory: str, *, yes: bool) -> bool:
    found = list(checks.in_files(prepared, engine, directory))
    if not found or yes or not output.has_terminal():
        return False
    revision = own_code.revision(engine.model, directory)
    output.warn(f"{found[0].cause}: {', '.join(checkpoint.code_files(directory))} in {directory}")
    if not output.confirm(f"Have you read it, and may it run on this machine as it is at {revision[:12]}?"):
        return False
    trusting.add_code(own_code.named(engine.model), revision)
    return True
