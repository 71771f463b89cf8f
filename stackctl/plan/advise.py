"""Which models of the catalogue suit a machine, best first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl.catalog import models
from stackctl.plan import fit as fitting
from stackctl.plan.fit import GB, WARN, Fit, Size
from stackctl.plan.hardware import devices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackctl.catalog.models import Found, Model
    from stackctl.host import Host
    from stackctl.plan.hardware import Device

NOTHING = "no model that can work as an agent fits here: a hosted one, or a GPU box named by `url:`, serves you better"
FULL = 131072  # tokens; up to here a larger window is worth more than a better precision


@dataclass(frozen=True, slots=True)
class Advice:
    """A model in the variant that suits best, and how it fits (or, with a refusal, why none of its variants does)."""

    found: Found
    fit: Fit

    @property
    def speed(self) -> str:
        """A class of speed, by what is read from memory for one token."""
        model = self.found.model
        read = (model.active or model.params or 0) * models.BYTES[self.found.variant.precision]
        if self.fit.used and self.fit.used[0].kind == "cpu":
            return "slow" if 0 < read <= 1 else "very slow"
        read /= max(1, self.fit.tp)
        return "fast" if read <= 8 else "medium" if read <= 20 else "slow"


def size(found: Found) -> Size:
    """What the sum needs to know of a row of the catalogue."""
    model, variant = found.model, found.variant
    return Size(
        name=variant.id,
        precision=variant.precision,
        weights=int(variant.weights_gb * GB),
        context=model.context,
        arch=model.arch,
        minimum=int((variant.minimum_gb or 0) * GB),
        vision=model.vision,
        eager_under=int(variant.eager_under_gb * GB),
        sure="estimated" if variant.guessed or model.arch_confidence != "high" else "counted",
        why=model.no_arch,
        source=model.arch_source,
    )


def variant(model: Model, used: Sequence[Device]) -> Advice:
    """The best variant of a model for some devices: the preferred precision, if it leaves a full window.

    A less preferred one is taken only to reach a window of 128k, so that more memory never gives a smaller window.
    """
    best: Advice | None = None
    worth = (-1, 0)
    for index, each in enumerate(model.variants):
        found = models.Found(model, each)
        advice = Advice(found, fitting.fit(size(found), used))
        window = advice.fit.window if index == 0 else min(advice.fit.window, FULL)
        if advice.fit.size.arch is None:
            window = 0
        if index and not advice.fit.refusal and advice.fit.window > window:
            capped = fitting.fit(size(found), used, fitting.Asked(window=window))
            advice = Advice(found, capped)
        this = (0 if advice.fit.refusal else 1, window)
        if best is None or this > worth:
            best, worth = advice, this
    assert best is not None  # noqa: S101 - a test holds that each model has a variant
    if best.fit.refusal:  # the smallest that the device could compute with says the most
        tried = [models.Found(model, each) for each in model.variants if used and used[0].runs(each.precision)]
        if tried:
            smallest = min(tried, key=lambda each: each.variant.weights_gb)
            return Advice(smallest, fitting.fit(size(smallest), used))
    return best


def ranked(host: Host, *, amd: bool = True) -> list[Advice]:
    """All models on this machine: those that fit, best agent first; then those that do not, smallest first."""
    used = devices(host, amd=amd)
    found = [variant(model, used) for model in models.table()]
    return sorted(found, key=_order)


def best(host: Host, *, amd: bool = False) -> Advice | None:
    """The model to propose on this machine, or None when none that can work as an agent fits."""
    for each in ranked(host, amd=amd):
        fit = each.fit
        if fit.refusal or fit.size.arch is None or not fit.used or fit.used[0].kind == "cpu":
            continue
        if each.found.model.agent is None or each.found.model.gated:
            continue
        return each
    return None


def instead(name: str, host: Host, *, amd: bool = False) -> Advice | None:
    """What to serve when `name` does not fit: another variant of the same model, else the model to propose."""
    found = models.find(name)
    if found is not None and not (same := variant(found.model, devices(host, amd=amd))).fit.refusal:
        return same
    return best(host, amd=amd)


def _order(advice: Advice) -> tuple[object, ...]:
    """Fitting ones first; of these known agents, comfortable windows, then by result."""
    model, fit = advice.found.model, advice.fit
    agent = model.agent
    # Only results of the same test compare; another test's stands behind them, and none at all last.
    known = 0 if agent and agent.test in {"SWE-bench Verified", "SWE-bench Pro"} else 1 if agent else 2
    score = agent.score if agent else 0.0
    if agent and agent.test == "SWE-bench Pro":
        score += 25  # Qwen3.6-27B has 77.2 of Verified and 50.2 to 53.5 of Pro (its card and whatmodel)
    if fit.refusal:
        return (1, advice.found.variant.weights_gb, model.id)
    return (
        0,
        fit.size.arch is None,
        known,
        fit.window < min(WARN, model.context),
        -score,
        -fit.window,
        model.id,
    )
