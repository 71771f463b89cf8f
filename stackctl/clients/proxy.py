"""NO_PROXY: every client sends even 127.0.0.1 through HTTP_PROXY unless told not to. Light."""

from __future__ import annotations

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
NAMES = ("NO_PROXY", "no_proxy")
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


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


def in_the_way(environ: Mapping[str, str], host: str = "127.0.0.1", port: int | None = None) -> str:
    """The name of a variable that sends the requests to `host` (and `port`) to a proxy; empty when none does.

    As Claude Code 2.1.330 does it (tried): each of the proxy variables counts for http:// too, `no_proxy` goes before
    `NO_PROXY`, spaces separate as well, an entry may have a port or be a network (127.0.0.0/8), and `127.*` is none.
    """
    without = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if any(_excepts(entry, host.lower(), port) for each in _entries(without) for entry in each.split()):
        return ""
    return next((name for name in PROXIES if environ.get(name)), "")


def _excepts(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY names this host."""
    named, colon, given = entry.lower().rpartition(":")
    if colon and given.isdigit() and ":" not in named.strip("[]"):
        if port is not None and int(given) != port:
            return False
        entry = named
    entry = entry.lower().strip("[]")
    if entry in {"*", host}:
        return True
    if "/" in entry:
        return _in_network(host, entry)
    return bool(entry) and not host[-1:].isdigit() and host.endswith("." + entry.lstrip("."))


def _in_network(host: str, network: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
