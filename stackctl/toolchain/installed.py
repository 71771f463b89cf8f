"""What is installed for a Python, read from its files: that Python is never started (a bad package runs at start)."""

from __future__ import annotations

import glob
import os
import re
from functools import cache

_DIST = re.compile(r"^(?P<name>[A-Za-z0-9][\w.]*?)-(?P<version>[^-]+)(?:-py3[\d.]*)?\.(?:dist|egg)-info$")


def normal(name: str) -> str:
    """A distribution's name as the packaging standards compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def site_directories(python: str) -> tuple[str, ...]:
    """The existing site-packages directories of a Python, most specific first; empty when it is no interpreter.

    A virtual environment is known by its pyvenv.cfg; with system site-packages switched on, its base counts too. The
    user's own site directory counts wherever the interpreter would read it.
    """
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(python)))
    settings = _pyvenv(os.path.join(prefix, "pyvenv.cfg"))
    if settings is None:
        return _base_directories(os.path.realpath(python))
    found = _site_packages(prefix, "")
    if settings.get("include-system-site-packages", "").lower() == "true":
        found += _base_directories(os.path.realpath(python))
    return tuple(dict.fromkeys(found))


def distributions(directories: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Installed distributions by normal name, with every version that is found (a broken upgrade leaves two)."""
    found: dict[str, list[str]] = {}
    for directory in directories:
        for entry in _listing(directory):
            match = _DIST.match(entry)
            if match:
                found.setdefault(normal(match["name"]), []).append(match["version"])
    return {name: tuple(dict.fromkeys(versions)) for name, versions in found.items()}


def _pyvenv(path: str) -> dict[str, str] | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            pairs = [line.partition("=") for line in stream]
    except OSError:
        return None
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _base_directories(binary: str) -> tuple[str, ...]:
    name = os.path.basename(binary)
    if not name.startswith("python") and not name.startswith("pypy"):
        return ()
    if not os.path.isfile(binary):
        return ()
    version = name.removeprefix("python").rstrip("t")
    minor = version if re.fullmatch(r"3\.\d+", version) else ""
    prefix = os.path.dirname(os.path.dirname(binary))
    found = _site_packages(prefix, minor)
    if prefix == "/usr":  # Debian keeps its own packages, and those of pip as root, elsewhere
        found += _site_packages("/usr/local", minor) + tuple(
            path for path in ("/usr/lib/python3/dist-packages",) if os.path.isdir(path)
        )
    return found + _site_packages(os.path.join(os.path.expanduser("~"), ".local"), minor)


def _site_packages(prefix: str, minor: str) -> tuple[str, ...]:
    folder = f"python{minor}" if minor else "python3.*"
    return tuple(
        path
        for kind in ("site-packages", "dist-packages")
        for lib in ("lib", "lib64")
        for path in sorted(glob.glob(os.path.join(glob.escape(prefix), lib, folder, kind)), reverse=True)
        if os.path.isdir(path) and not (lib == "lib64" and os.path.islink(os.path.join(prefix, "lib64")))
    )


@cache
def _cached_listing(directory: str, _changed: int) -> tuple[str, ...]:
    return tuple(os.listdir(directory))


def _listing(directory: str) -> tuple[str, ...]:
    try:
        return _cached_listing(directory, os.stat(directory).st_mtime_ns)
    except OSError:
        return ()
