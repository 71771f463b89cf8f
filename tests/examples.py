"""Each example's commands and files, as its expected.txt holds them; `make examples` writes them anew."""

from __future__ import annotations

import os
import shlex

from stackctl import plan, render
from stackctl.config import Flags
from tests.fakes import machines

EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples")


def planned(name: str) -> plan.Plan:
    """The plan of an example, on a machine that is the same everywhere."""
    return plan.build(machines.inputs(Flags(config=os.path.join(EXAMPLES, name, "stack.yaml"))))


def golden(name: str) -> str:
    """What would be run and written."""
    made = planned(name)
    text = (
        f"# engine\n{shlex.join(made.engine.argv) or made.engine.url}\n\n# gateway\n{shlex.join(made.gateway.argv)}\n"
    )
    shown = [each for each in render.render(made) if each.name == render.CONFIG_FILE]
    return text + "".join(f"\n# {each.name}\n{each.text}" for each in shown)


if __name__ == "__main__":
    for example in sorted(os.listdir(EXAMPLES)):
        with open(os.path.join(EXAMPLES, example, "expected.txt"), "w", encoding="utf-8") as stream:
            stream.write(golden(example))
