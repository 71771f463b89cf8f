"""Which shell asks. Light: reads a few lines below /proc, nothing else."""

from __future__ import annotations

import os

from stackctl.errors import ConfigError

_KNOWN = {
    "sh": "sh", "dash": "sh", "ash": "sh", "busybox": "sh", "ksh": "sh", "mksh": "sh", "ksh93": "sh", "make": "sh",
    "bash": "bash", "zsh": "zsh", "fish": "fish", "pwsh": "pwsh", "powershell": "pwsh",
}  # fmt: skip
_FOREIGN = frozenset({"csh", "tcsh", "nu", "elvish", "xonsh", "murex", "rc", "es"})  # POSIX lines are errors there
_GENERATIONS = 4  # a wrapper or two (uv run, sudo, timeout) may stand between the shell and us


def shell() -> str:
    """The format for the nearest ancestor that is a shell; `sh` when none is known (or without /proc).

    Raises ConfigError for a shell whose language this is not.
    """
    pid = os.getppid()
    for _ in range(_GENERATIONS):
        comm, parent = _process(pid)
        name = comm.lstrip("-").lower().removesuffix(".exe")
        if name in _KNOWN:
            return _KNOWN[name]
        if name in _FOREIGN:
            raise ConfigError(
                f"your shell, {name}, is not one whose language `stackctl env` writes",
                remedy="stackctl env --shell json, and load it from there; or: stackctl launch claude",
            )
        if parent <= 1:
            break
        pid = parent
    return "sh"


def _process(pid: int) -> tuple[str, int]:
    """The name and the parent of a process; an empty name when nothing is known of it (proc(5))."""
    try:
        handle = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = os.read(handle, 4096)
        finally:
            os.close(handle)
    except OSError:
        return "", 0
    head, _, rest = raw.rpartition(b")")
    try:
        return head.partition(b"(")[2].decode(errors="replace"), int(rest.split()[1])
    except (ValueError, IndexError):
        return "", 0
