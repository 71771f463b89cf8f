"""What an http address is. Light: `stackctl env` loads it."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

_HOST = re.compile(r"[\w.:%-]+")
_NONE = urlsplit("")


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
