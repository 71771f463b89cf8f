"""Which models of the hub's cache stackctl fetched: the cache is shared, and only these may be removed again."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from stackctl import files, paths
from stackctl.hub.cache import repo_dir


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model's id, and the directory of the hub's cache that is wholly stackctl's doing."""

    model: str
    directory: str


def note(model_id: str) -> None:
    """Record a model before its first byte is fetched; one that is there already is somebody else's, and is not.

    Raises PreflightError when the state directory is not safe, OSError when it cannot be written.
    """
    directory = repo_dir(model_id)
    if os.path.lexists(directory):
        return
    files.private_dir(paths.home())
    known = {each.directory: each.model for each in known_models()} | {directory: model_id}
    rows = [{"model": model, "directory": place} for place, model in sorted(known.items())]
    files.write_private(paths.models_file(), json.dumps({"schema": 1, "models": rows}, indent=1) + "\n")


def known_models() -> tuple[Fetched, ...]:
    """What is recorded and still looks like a model of the hub's cache; an unreadable record counts as none."""
    try:
        rows = json.loads(files.read_private(paths.models_file()))["models"]
        found = [Fetched(str(row["model"]), str(row["directory"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return tuple(each for each in found if _is_model(each))


def _is_model(each: Fetched) -> bool:
    """Whether the directory is the one of that model: nothing else is removed on the word of a file."""
    named = os.path.basename(each.directory) == "--".join(["models", *each.model.split("/")])
    return named and os.path.isabs(each.directory) and os.path.isdir(os.path.join(each.directory, "blobs"))
