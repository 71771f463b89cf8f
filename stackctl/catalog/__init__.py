"""Knowledge as data: YAML files with a source in each row, and one typed loader for them."""

from __future__ import annotations

import os
from typing import TypeVar

from stackctl import shapes

T = TypeVar("T")


def load(file: str, shape: type[T]) -> T:
    """Read a YAML file of this directory as `shape` (a msgspec type); callers keep the result.

    Raises msgspec.ValidationError when a row does not fit: our own data being wrong is a bug that a test finds.
    """
    import yaml

    with open(os.path.join(os.path.dirname(__file__), file), "rb") as stream:
        # A SafeLoader too, in C: 6 ms for the families instead of 90.
        data = yaml.load(stream, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return shapes.convert(data, shape)


def text(file: str) -> str:
    """A file of this directory that is not YAML."""
    with open(os.path.join(os.path.dirname(__file__), file), encoding="utf-8") as stream:
        return stream.read()
