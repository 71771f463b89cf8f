"""What an http address is. Light: `stackctl env` loads it."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

_HOST = re.compile(r"[\w.:%-]+")
_NONE = urlsplit("")


LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})  # names of this machine for itself


def parts(url: str) -> SplitResult:
    """The parts of an http(s) address that can be asked; all of them empty for anything else.

    urlsplit alone raises for `http://[::1`, puts off a bad port until somebody reads it, and takes spaces, control
    characters and `$(id)` for a host.
    """
    try:
        found = urlsplit(url)
        host, _ = found.hostname or "", found.port
    except ValueError:
        return _NONE
    usable = found.scheme in {"http", "https"} and _HOST.fullmatch(host) and url.isprintable() and " " not in url
    return found if usable else _NONE


def root(url: str) -> str:
    """An address without the /v1 that OpenAI's clients want at its end."""
    return url.strip().rstrip("/").removesuffix("/v1")


def place(url: str) -> tuple[str, int]:
    """Host and port that a client of an http(s) address connects to; ("", 80) for anything else."""
    at = parts(url)
    return at.hostname or "", at.port or (443 if at.scheme == "https" else 80)
