"""Data into typed structs, from any thread."""

from __future__ import annotations

import threading
from typing import TypeVar

T = TypeVar("T")

_ONE = threading.RLock()


def convert(data: object, shape: type[T]) -> T:
    """Return `data` as `shape` (a msgspec type). Raises msgspec.ValidationError when it does not fit.

    One at a time: msgspec (0.22) publishes what it knows of a struct before it is complete, and a second thread that
    converts to the same struct for the first time then reads a null pointer: the whole process ends with SIGSEGV.
    """
    import msgspec

    with _ONE:
        return msgspec.convert(data, shape)
