"""What is generated from the code: each example's expected.txt, and the schema; `make examples` writes them anew."""

from __future__ import annotations

import json
import os
import shlex

import msgspec

from stackctl import plan, render
from stackctl.config import Flags, StackConfig
from tests.fakes import machines

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCHEMA = os.path.join(ROOT, "stackctl", "stack.schema.json")
EXAMPLES = os.path.join(ROOT, "examples")


def planned(name: str) -> plan.Plan:
    """The plan of an example, on a machine that is the same everywhere."""
    return plan.build(machines.inputs(Flags(config=os.path.join(EXAMPLES, name, "stack.yaml"))))


def golden(name: str) -> str:
    """What would be run and written."""
    made = planned(name)
    text = "".join(
        f"# {'engine' if len(made.engines) == 1 else each.name}\n{shlex.join(each.argv) or each.url}\n\n"
        for each in made.engines
    )
    text += f"# gateway\n{shlex.join(made.gateway.argv)}\n"
    shown = [each for each in render.render(made) if each.name == render.CONFIG_FILE]
    return text + "".join(f"\n# {each.name}\n{each.text}" for each in shown)


def schema() -> str:
    """The JSON Schema of stack.yaml, for editors."""
    found = msgspec.json.schema(StackConfig)
    found["title"] = "stack.yaml of stackctl"
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    with open(SCHEMA, "w", encoding="utf-8") as stream:
        stream.write(schema())
    for example in sorted(os.listdir(EXAMPLES)):
        with open(os.path.join(EXAMPLES, example, "expected.txt"), "w", encoding="utf-8") as stream:
            stream.write(golden(example))
