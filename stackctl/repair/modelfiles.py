"""Repairs of a model's files: what is damaged or missing is fetched from the hub again, at the revision that is here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import fetch
from stackctl.config import EMBEDDED
from stackctl.errors import StackError
from stackctl.hub import again, cache, origin
from stackctl.hub.download import endpoint, is_offline
from stackctl.repair.change import Change, Edit
from stackctl.repair.context import ImpossibleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.hub.origin import Origin
    from stackctl.repair.context import Here, Verb

_TEMPLATE = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
_SMALL = 1 << 20  # bytes


def refetch(here: Here) -> Change | None:
    """Every damaged file of the models that the finding speaks of; a plain directory that nobody knows the source of is
    its owner's to repair.
    """
    change = Change("")
    for place in _places(here):
        if is_offline():
            raise ImpossibleError("HF_HUB_OFFLINE is set, and its files would have to be fetched again")
        try:
            found = again.damaged(place, _complaint(here, place))
        except StackError as error:
            raise ImpossibleError(error.message) from error
        if found is not None:
            names = ", ".join(each.name for each in found.files)
            asides = tuple(Edit(path, None, spare=_spare(place, path)) for path in found.in_the_way())
            change += Change(f"fetch {names} of {found.origin.model} again", asides, fetches=(found,))
    return change or None


def _complaint(here: Here, place: Origin) -> str:
    """What the finding says; of a chat template it does not say which file it should stand in."""
    files = _TEMPLATE if here.finding.id.startswith("model.template") else ()
    return "\n".join([here.said, *map(place.path, files)])


def _spare(place: Origin, path: str) -> bool:
    """Whether what is moved aside is of no use: a small file in a directory of the user's may have been changed by hand."""
    return place.blobs is not None or os.path.getsize(path) > _SMALL


def _places(here: Here) -> Iterator[Origin]:
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
        place = origin.of(directory, endpoint())
        if place is not None:
            yield place


VERBS: dict[str, Verb] = {"refetch": refetch}
