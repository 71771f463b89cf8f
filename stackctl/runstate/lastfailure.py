"""Why the last start of a stack failed, in its supervisor's words: kept until the next start, for who asks afterwards."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from stackctl import files

if TYPE_CHECKING:
    from stackctl.paths import StackPaths

_LARGEST = 64 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """`service` is the one that failed, `reason` how."""

    service: str
    reason: str


def note(paths: StackPaths, failed: Failed) -> None:
    """Keep it; a full disk must stop nothing."""
    with contextlib.suppress(OSError):
        files.write_private(paths.failed, json.dumps(asdict(failed)) + "\n")


def forget(paths: StackPaths) -> None:
    """A new start begins."""
    with contextlib.suppress(OSError):
        os.unlink(paths.failed)


def noted(paths: StackPaths) -> Failed | None:
    """What was kept; None without any, or where it cannot be read."""
    try:
        found = json.loads(files.read_private(paths.failed, _LARGEST))
        return Failed(str(found["service"]), str(found["reason"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
