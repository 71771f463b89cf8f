"""Repairs of a model's files: what is damaged or missing is fetched from the hub again, at the revision that is here."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from stackctl import fetch
from stackctl.config import EMBEDDED
from stackctl.errors import StackError
from stackctl.hub import again, cache
from stackctl.hub.download import is_offline
from stackctl.repair.change import Change, Edit
from stackctl.repair.context import ImpossibleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.repair.context import Here, Verb

_NAMED = re.compile(r"^([^\s:]+): ", re.MULTILINE)  # a file of the finding's evidence


def refetch(here: Here) -> Change | None:
    """Every damaged file of the models that the finding speaks of; a plain directory that nobody knows the source of is
    its owner's to repair.
    """
    change = Change("")
    for place in _places(here):
        if is_offline():
            raise ImpossibleError("HF_HUB_OFFLINE is set, and its files would have to be fetched again")
        try:
            found = again.damaged(place, _NAMED.findall("\n".join(here.finding.evidence)))
        except StackError as error:
            raise ImpossibleError(error.message) from error
        if found is not None:
            names = ", ".join(each.name for each in found.files)
            asides = tuple(Edit(path, None, spare=True) for path in found.in_the_way())
            change += Change(f"fetch {names} of {place.model} again", asides, fetches=(found,))
    return change or None


def _places(here: Here) -> Iterator[again.Origin]:
    prepared = here.facts.prepared
    for engine in prepared.plan.managed if prepared is not None else ():
        config = prepared.loaded.engines[engine.name] if prepared is not None else None
        if config is None or config.command or engine.model == EMBEDDED:
            continue
        if fetch.is_local(engine.model):
            directory: str | None = os.path.abspath(os.path.expanduser(engine.model))
        else:
            directory = cache.snapshot(engine.model, config.revision)
        if directory is None or not (engine.model in here.said or directory in here.said):
            continue
        place = again.origin(directory)
        if place is not None:
            yield place


VERBS: dict[str, Verb] = {"refetch": refetch}
