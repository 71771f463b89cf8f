"""Which stack a port belongs to, also one of another STACKCTL_HOME: by the mark that its services carry."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

from stackctl import files, paths, sockets, survivors

_KEY = 4096  # bytes


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stack by its directory, HOME/stacks/NAME."""

    root: str

    @property
    def name(self) -> str:
        """Its name."""
        return os.path.basename(self.root)

    @property
    def home(self) -> str:
        """The STACKCTL_HOME that it runs under."""
        return os.path.dirname(os.path.dirname(self.root))

    def key(self) -> str:
        """The client key that it asks for; empty where we may not read that."""
        try:
            return files.read_private(os.path.join(self.root, "client.key"), _KEY).decode().strip()
        except (OSError, ValueError):
            return ""

    def command(self, what: str) -> str:
        """A command of ours about that stack, to be typed in this shell."""
        elsewhere = f"STACKCTL_HOME={shlex.quote(self.home)} " if self.home != paths.home() else ""
        return f"{elsewhere}stackctl {what} --name {self.name}"


def at(port: int, host: str = "127.0.0.1") -> Neighbour | None:
    """The stack whose service listens there; None where none does, or where that is another user's."""
    holder = sockets.holder(host, port)
    if holder is None or holder.pid is None:
        return None
    _, _, root = survivors.mark_on(holder.pid).partition("@")
    return Neighbour(root) if os.path.isabs(root) else None
