"""Rendered files on disk: written whole, and never over somebody's hand-made change. Light: the supervisor loads it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl import files

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """A file to be written with mode 0600 into the gateway's own directory."""

    name: str
    text: str


def write(rendered: Iterable[RenderedFile], directory: str) -> None:
    """Write the files, keeping aside (as NAME.edited) one that somebody changed by hand since it was written."""
    files.private_dir(directory)
    record_path = os.path.join(directory, ".rendered.json")
    record = _record(record_path)
    fresh: dict[str, str] = {}
    for each in rendered:
        path = os.path.join(directory, each.name)
        if edited(path, each.name, record):
            os.replace(path, f"{path}.edited")
        files.write_private(path, each.text)
        fresh[each.name] = _digest(each.text)
    files.write_private(record_path, json.dumps(fresh))


def edited(path: str, name: str, record: dict[str, str]) -> bool:
    """Whether the file at `path` is not what was last written there."""
    try:
        return name in record and _digest(files.read_private(path).decode(errors="replace")) != record[name]
    except OSError:
        return False


def hand_edited(directory: str) -> list[str]:
    """The rendered files below `directory` that somebody has changed by hand."""
    record = _record(os.path.join(directory, ".rendered.json"))
    return [name for name in record if edited(os.path.join(directory, name), name, record)]


def missing(directory: str) -> list[str]:
    """The rendered files below `directory` that are not there any more."""
    record = _record(os.path.join(directory, ".rendered.json"))
    return [name for name in record if not os.path.lexists(os.path.join(directory, name))]


def _record(path: str) -> dict[str, str]:
    try:
        data = json.loads(files.read_private(path))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
