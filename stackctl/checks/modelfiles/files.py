"""Checks of the model's files: they are here, and whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import fetch
from stackctl.checks import answers, before
from stackctl.checks.check import Hop
from stackctl.checks.modelfiles import models, whole
from stackctl.config import EMBEDDED
from stackctl.errors import PreflightError
from stackctl.hub.cache import lacking, repo_dir, snapshot
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts


def there(facts: Facts) -> Iterator[Finding]:
    """The model is on this machine, with configuration, tokenizer and weights."""
    for each in models.of(facts):
        if each.directory is None:
            why = f"{each.engine.model} is not on this machine yet: `stackctl up` fetches it"
            yield Finding("model.there", Status.SKIPPED, why, hop=Hop.MODEL)
            continue
        try:
            fetch.check_local(each.directory)
        except PreflightError as error:
            yield before.refused(error, "model.incomplete")


def shards(facts: Facts) -> Iterator[Finding]:
    """Every weight file that the index names is there, and as long as its own header says."""
    for each in models.of(facts):
        directory = each.directory
        if directory is None:
            continue
        bad = whole.weights(directory)
        if bad:
            yield whole.damaged(directory, bad)


def texts(facts: Facts) -> Iterator[Finding]:
    """The tokenizer and what goes with it is whole."""
    for each in models.of(facts):
        if each.files and (bad := whole.texts(each.files)):
            yield whole.damaged(each.files, bad)


def cached(facts: Facts) -> Iterator[Finding]:
    """What the hub's cache has of a model is whole, or can still be fetched."""
    for each in models.of(facts):
        if each.engine.model != EMBEDDED and not fetch.is_local(each.engine.model) and each.directory is None:
            yield from _in_cache(facts, each.engine.model, each.config.revision)


def _in_cache(facts: Facts, model: str, revision: str | None) -> Iterator[Finding]:
    place = repo_dir(model)
    snapshots = _names(os.path.join(place, "snapshots"))
    halves = [name for name in _names(os.path.join(place, "blobs")) if name.endswith(".incomplete")]
    here = snapshot(model, revision)
    missing = lacking(here) if here is not None and os.path.isdir(here) else []
    unnamed = bool(snapshots) and (here is None or os.path.basename(here) not in snapshots)
    shown = [
        f"{name}: {'its content is gone' if os.path.islink(os.path.join(str(here), name)) else 'missing'}"
        for name in missing[:3]
    ]
    name = revision or "main"
    if unnamed and here is None:
        shown.append(f"refs/{name} is missing: nothing says that {snapshots[-1]} is it")
    elif unnamed:
        shown.append(f"refs/{name} names a snapshot that is not there (there is {snapshots[-1]})")
    shown += [f"{len(halves)} files are half there"] if halves else []
    if facts.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "on", "yes", "true"}:
        evidence = ("HF_HUB_OFFLINE is set", place, *shown)
        yield answers.finding(
            "model.unnamed" if unnamed else "model.offline",
            Status.FAIL,
            evidence,
            model=model,
            name=name,
            commit=snapshots[-1] if unnamed else "",
        )
    elif shown:
        yield answers.finding("model.cache", Status.WARN, (place, *shown), model=model, blocks=False)


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
