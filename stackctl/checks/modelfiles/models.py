"""The models that vLLM serves here, with their files as far as they are on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl import checkpoint, fetch, sizes
from stackctl.config import EMBEDDED
from stackctl.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.config import EngineConfig
    from stackctl.plan import EnginePlan


@dataclass(frozen=True, slots=True)
class Model:
    """A model that vLLM serves here. `directory` is None for one that is not on this machine."""

    engine: EnginePlan
    config: EngineConfig
    directory: str | None

    @property
    def files(self) -> str | None:
        """Its directory, where its files are to be judged: the embedded one is made by us, and known."""
        return None if self.engine.model == EMBEDDED else self.directory

    def checkpoint(self) -> checkpoint.Checkpoint | None:
        """What its files say; None where there are none to be judged, or where `model.there` says what is wrong."""
        try:
            return checkpoint.read(self.files) if self.files is not None else None
        except PreflightError:
            return None


def of(facts: Facts) -> Iterator[Model]:
    """The models of ours; with `command:` or `url:` the files are not ours to judge."""
    prepared = facts.prepared
    for engine in prepared.plan.managed if prepared is not None else ():
        config = prepared.loaded.engines[engine.name] if prepared is not None else None
        if config is not None and not config.command:
            yield Model(engine, config, _directory(engine.model, config.revision))


def _directory(model: str, revision: str | None) -> str | None:
    if model == EMBEDDED:
        path = fetch.embedded_dir()
        return path if os.path.isdir(path) else None
    if fetch.is_local(model):
        return os.path.abspath(os.path.expanduser(model))
    return sizes.directory(model, revision)
