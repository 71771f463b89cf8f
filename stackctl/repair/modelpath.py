"""Repairs of a path that names no model: the model that is meant lies below it, or beside it under nearly the same name."""

from __future__ import annotations

import contextlib
import difflib
import os
from typing import TYPE_CHECKING

from stackctl import fetch
from stackctl.errors import PreflightError
from stackctl.repair import stackfile

if TYPE_CHECKING:
    from stackctl.repair.change import Change
    from stackctl.repair.context import Here, Verb

_ALIKE = 0.8  # of difflib's ratio: a letter or two in a name


def near(here: Here) -> Change | None:
    """`model-near`: the only model below the path, else the only one beside it that is called nearly the same."""
    prepared = here.facts.prepared
    for engine in prepared.plan.managed if prepared is not None else ():
        place = os.path.abspath(os.path.expanduser(engine.model))
        if (
            not fetch.is_local(engine.model)
            or place not in here.said
            or os.path.exists(os.path.join(place, "config.json"))
        ):
            continue
        found = _below(place) or _beside(place)
        if len(found) == 1:
            return stackfile.put(here, f"engines.{engine.name}.model", found[0])
    return None


def _below(place: str) -> list[str]:
    """The models in a directory, also in one of the hub's cache (`snapshots/REVISION`)."""
    return [each for above in (place, os.path.join(place, "snapshots")) for each in _models(above)]


def _beside(place: str) -> list[str]:
    """The models whose names differ from the missing one's by a slip of the pen."""
    above, name = os.path.split(place)
    models = {os.path.basename(each): each for each in _models(above)} if not os.path.lexists(place) else {}
    return [models[each] for each in difflib.get_close_matches(name, models, cutoff=_ALIKE)]


def _models(directory: str) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        found = sorted(each.path for each in entries if each.is_dir() and _whole(each.path))
    return found


def _whole(path: str) -> bool:
    try:
        fetch.check_local(path)
    except PreflightError:
        return False
    return True


VERBS: dict[str, Verb] = {"model-near": near}
