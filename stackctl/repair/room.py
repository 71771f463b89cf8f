"""Repairs of what does not fit into memory: a smaller window, or another precision of the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.catalog import models
from stackctl.plan import advise, fit
from stackctl.plan.hardware import devices
from stackctl.repair import stackfile

if TYPE_CHECKING:
    from stackctl.plan import EnginePlan
    from stackctl.planning import Prepared
    from stackctl.repair.change import Change
    from stackctl.repair.context import Here, Verb


def room(here: Here) -> Change | None:
    """For the engine that the finding speaks of; None where only another model would fit: that is its owner's to choose."""
    prepared = here.facts.prepared
    for engine in prepared.plan.managed if prepared is not None else ():
        if prepared is not None and engine.fit is not None and engine.fit.refusal and engine.fit.refusal in here.said:
            return _smaller(here, prepared, engine, engine.fit)
    return None


def _smaller(here: Here, prepared: Prepared, engine: EnginePlan, found: fit.Fit) -> Change | None:
    if engine.window is not None and found.most >= fit.FLOOR:
        return stackfile.put(here, f"engines.{engine.name}.max_model_len", "auto")
    known = models.find(engine.model)
    if known is None:
        return None
    other = advise.variant(
        known.model, devices(engine.host or prepared.host, amd=prepared.loaded.engines[engine.name].python is not None)
    )
    if other.fit.refusal or other.found.variant.id == engine.model:
        return None
    return stackfile.put(here, f"engines.{engine.name}.model", other.found.variant.id)


VERBS: dict[str, Verb] = {"room": room}
