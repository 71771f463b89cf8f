"""The interpreter that a managed environment is made with, found without starting one."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass

from stackctl.toolchain.builds import PYTHONS


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python: its path, its version as `3.11`, and whether the locks support it."""

    path: str
    minor: str
    supported: bool

    @property
    def header(self) -> str:
        """Where its C header should be; Triton compiles against it when the engine starts."""
        base = os.path.dirname(os.path.dirname(os.path.realpath(self.path)))
        return os.path.join(base, "include", f"python{self.minor}", "Python.h")


def choose(running: tuple[int, int] | None = None) -> Interpreter:
    """The running interpreter when its version is supported, else the newest supported one on PATH, else the running.

    `running` stands in for its version. Shims (of pyenv and the like) are passed over: whether there is an
    interpreter behind one is known only by starting it.
    """
    version = running or (sys.version_info.major, sys.version_info.minor)
    own = Interpreter(sys.executable, f"{version[0]}.{version[1]}", supported=version in PYTHONS)
    if own.supported:
        return own
    for major, minor in reversed(PYTHONS):
        for directory in os.get_exec_path():
            path = shutil.which(f"python{major}.{minor}", path=directory)
            if path and os.path.basename(os.path.dirname(path)) != "shims":
                return Interpreter(path, f"{major}.{minor}", supported=True)
    return own
