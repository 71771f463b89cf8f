"""Every known model on every recorded machine, as tests/unit/plans.txt holds it; `python -m tests.planned` writes it anew."""

from __future__ import annotations

import os

from stackctl.catalog import models
from stackctl.plan import advise
from stackctl.plan.hardware import devices
from tests.fakes import machines

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "unit", "plans.txt")
MACHINES = (
    "laptop_8",
    "1x16",
    "1x24",
    "2x24",
    "1x32",
    "1x48",
    "1x80",
    "8x80",
    "amd_24",
    "mac",
    "cpu_only",
    "wsl_24",
    "container_24",
    "driver_broken",
)


def golden() -> str:
    """A line for each machine and model: the plan, or why there is none."""
    lines = []
    for name in MACHINES:
        used = devices(machines.host(name), amd=True)
        lines.append(f"== {name}: {machines.host(name).summary()}")
        for model in models.table():
            advice = advise.variant(model, used)
            fit = advice.fit
            if fit.refusal:
                lines.append(f"{model.id}: no ({fit.size.name}: {fit.refusal})")
                continue
            how = f"tp{fit.tp} pp{fit.pp} window {fit.window} seqs {fit.sequences} share {fit.utilization} cache {fit.cache}"
            how += " eager" if fit.eager else ""
            lines.append(f"{model.id}: {fit.size.name} {how if fit.size.arch else 'not summed'} ({fit.size.sure})")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with open(FILE, "w", encoding="utf-8") as stream:
        stream.write(golden())
