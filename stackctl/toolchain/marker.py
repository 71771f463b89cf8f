"""The file that says that an environment or a model is whole: the last thing written before it gets its name."""

from __future__ import annotations

import json
import os
from typing import Any

NAME = "stackctl-env.json"


def write(root: str, lock: str, **facts: Any) -> None:
    """Mark the directory `root` as made whole from the lock with this sha256."""
    with open(os.path.join(root, NAME), "x", encoding="utf-8") as stream:
        json.dump({"schema": 1, "lock": lock, **facts}, stream, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())


def read(root: str) -> dict[str, str]:
    """What the marker of `root` says, as texts; nothing when it has none that can be read."""
    try:
        with open(os.path.join(root, NAME), encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def is_complete(root: str, lock: str) -> bool:
    """Whether `root` was made whole from this lock; an unreadable marker counts as none."""
    return read(root).get("lock") == lock
