"""The services' temporary directory."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from stackctl import files

if TYPE_CHECKING:
    from stackctl.paths import StackPaths

_SOCKET_ROOM = 107 - 48  # bytes of a unix socket's path (unix(7)), less the name that vLLM puts below its TMPDIR


def tmp_dirs(paths: StackPaths) -> tuple[str, ...]:
    """Return where a stack's temporary directory may be: below its root, or somewhere shorter.

    vLLM makes unix sockets below it, whose paths hold 107 bytes at most. The names follow from the stack alone, so
    that nobody has to believe a state file about what to delete.
    """
    short = f"stackctl-{os.getuid()}-{hashlib.sha256(os.fsencode(paths.root)).hexdigest()[:12]}"
    return paths.tmp, f"/run/user/{os.getuid()}/{short}", f"/tmp/{short}"  # noqa: S108 - 0700, and checked to be ours


def tmp_path(paths: StackPaths) -> str:
    """Return the services' TMPDIR of this stack; it need not be there yet."""
    choice, *shorter = tmp_dirs(paths)
    if len(os.fsencode(choice)) > _SOCKET_ROOM:
        choice = next((each for each in shorter if os.access(os.path.dirname(each), os.W_OK)), choice)
    return choice


def make_tmp(paths: StackPaths) -> str:
    """Make the services' TMPDIR (mode 0700, ours) and return it. Raises PreflightError when it is someone else's."""
    files.private_dir(paths.root)
    return files.private_dir(tmp_path(paths))


def remove_tmp(paths: StackPaths) -> bool:
    """Remove the temporary directory and all below it, following no symlink; True when there was one."""
    removed = False
    for top in tmp_dirs(paths):
        try:
            facts = os.lstat(top)
        except OSError:
            continue
        if facts.st_uid != os.geteuid() or os.path.islink(top):
            continue
        removed = True
        for _, directories, names, here in os.fwalk(top, topdown=False, follow_symlinks=False):
            for name in [*names, *directories]:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=here)
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=here)
        with contextlib.suppress(OSError):
            os.rmdir(top)
    return removed
