"""NO_PROXY: every client sends even 127.0.0.1 through HTTP_PROXY unless told not to. Light."""

from __future__ import annotations

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
NAMES = ("NO_PROXY", "no_proxy")
_PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def _entries(value: str) -> list[str]:
    separated = "".join("," if ord(ch) < 32 or ord(ch) == 127 else ch for ch in value)  # a line break ends one too
    return [entry.strip() for entry in separated.split(",") if entry.strip()]


def merged(environ: Mapping[str, str], host: str = "") -> str:
    """What stands in NO_PROXY and no_proxy, then loopback and the gateway's `host`."""
    entries: dict[str, None] = {}
    for variable in NAMES:
        entries |= dict.fromkeys(_entries(environ.get(variable, "")))
    return ",".join({**entries, **dict.fromkeys(LOOPBACK), **({host: None} if host else {})})


def trimmed(now: str, before: str) -> str:
    """`now`, which the user has changed since, without loopback, unless it stood there `before`."""
    own = _entries(before)
    return ",".join(entry for entry in _entries(now) if entry in own or entry not in LOOPBACK)


def in_the_way(environ: Mapping[str, str]) -> str:
    """The name of a variable that sends our requests to a proxy; empty when none does."""
    reached = set(_entries(environ.get("NO_PROXY", ""))) | set(_entries(environ.get("no_proxy", "")))
    if "*" in reached or "127.0.0.1" in reached:
        return ""
    return next((name for name in _PROXIES if environ.get(name)), "")
