"""Whether the NVIDIA driver was updated under a stack that runs. Two small files are read, NVML is not loaded.

An update replaces the libraries at once, while the old kernel module stays loaded until a reboot: what runs goes on,
but whatever starts anew finds no GPU (NVML: `Driver/library version mismatch`; CUDA: error 803).
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass

_LIBRARY = "libnvidia-ml.so.1"
_PLACES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib")
_VERSION = re.compile(r"\b(\d+\.\d+(?:\.\d+)?)\b")


@dataclass(frozen=True, slots=True)
class Driver:
    """The version of the loaded kernel module and of the libraries on disk; empty where there is none."""

    loaded: str = ""
    library: str = ""


def read(root: str = "/") -> Driver:
    """What is loaded and what is on disk now; never raises. `root` is where /sys, /proc and /usr are."""
    return Driver(_loaded(root), _library(root))


def _loaded(root: str) -> str:
    for path in ("sys/module/nvidia/version", "proc/driver/nvidia/version"):
        with contextlib.suppress(OSError), open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            if found := _VERSION.search(file.readline(1000)):
                return found[1]
    return ""


def _library(root: str) -> str:
    for place in _PLACES:
        with contextlib.suppress(OSError):
            target = os.readlink(os.path.join(root, place, _LIBRARY))
            if found := _VERSION.search(target.rpartition(".so.")[2]):
                return found[1]
    return ""


class Watch:
    """Remembers the driver that there was at the start of a stack."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._began = read(root)

    def notice(self) -> str:
        """What changed since, in words for people; empty when nothing did."""
        now = read(self._root)
        if now == self._began or not (self._began.loaded and now.library):
            return ""
        if now.loaded and now.loaded != now.library:
            return (
                f"the NVIDIA driver was updated from {now.loaded} to {now.library} while the stack ran: what starts anew"
                " finds no GPU (Driver/library version mismatch) until you reboot"
            )
        return f"the NVIDIA driver was {self._began.loaded} when the stack started and is {now.library} now: stackctl restart"
