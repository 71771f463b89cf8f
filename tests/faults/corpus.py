"""The faults as data: `*.yaml` beside this file, a list each, read into rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from stackctl import shapes

HERE = Path(__file__).parent
FILES = (
    "config",
    "machine",
    "toolchain",
    "model",
    "client",
    "litellm",
    "start",
    "state",
    "engine",
    "gateway",
    "claude",
    "real",
)
HELD_OUT = "held_out"

Kind = Literal["static", "live", "real"]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way to be broken.

    `stack` is the healthy one that is broken (tests/faults/stage.py); the rest says how: `config` is laid over its
    configuration, `raw` replaces it; `write` are files and `env` variables; `args` go to doctor; `engine` are the
    scripted engine's faults, set while it runs (or from its start, with `start`); `litellm` is laid over a hand-written
    LiteLLM file, `drop` are keys taken out of it; `do` is a recipe (tests/faults/recipes.py) with `given`.

    `expect` are the ids that may come first, at `hop`; `fix` says that `--fix` repairs it, and
    `shell` that the shell must evaluate what it prints; `level` is `warn` for
    what works and should not be so.
    """

    id: str
    breaks: str
    kind: Kind
    stack: str
    expect: list[str]
    hop: str
    level: Literal["fail", "warn"] = "fail"
    fix: bool = False
    shell: bool = False
    config: dict[str, Any] = {}
    raw: str = ""
    write: dict[str, str] = {}
    env: dict[str, str] = {}
    args: list[str] = []
    engine: list[str] = []
    start: list[str] = []
    litellm: dict[str, Any] = {}
    drop: list[str] = []
    do: str = ""
    given: dict[str, Any] = {}


def load(*names: str) -> list[Fault]:
    """The rows of the named files (all but the held-out ones by default). Raises where an id stands twice."""
    rows: list[Fault] = []
    for name in names or FILES:
        data = yaml.safe_load((HERE / f"{name}.yaml").read_text()) or []
        rows += [shapes.convert(each, Fault) for each in data]
    ids = [each.id for each in rows]
    assert len(ids) == len(set(ids)), sorted({each for each in ids if ids.count(each) > 1})
    return rows
