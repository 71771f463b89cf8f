"""A server of this machine that listens at another of its addresses: on `::1` alone, or on the network's and not on loopback."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from stackctl import addresses, probe, sockets
from stackctl.model import Probe

if TYPE_CHECKING:
    from collections.abc import Collection

    from stackctl.sockets import Listener

_SECONDS = 2.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where a server that listens everywhere is asked
_THERE = {200, 401, 403}  # statuses by which something with models answers, also to one without a key


def instead(url: str) -> str:
    """The address of a server with models on the port of `url`, where `url` itself reaches nobody; empty without one.

    Only addresses of this machine are looked at, and no key is sent.
    """
    place = addresses.parts(url)
    if place.hostname is None or place.port is None:
        return ""
    named = _resolved(place.hostname)
    if not named or not all(map(_ours, named)):
        return ""
    for host in others(sockets.listening(), place.port, named):
        other = f"{place.scheme}://{f'[{host}]' if ':' in host else host}:{place.port}"
        if probe.request(Probe(f"{other}/v1/models", timeout=_SECONDS)).status in _THERE:
            return other
    return ""


def others(listeners: Collection[Listener], port: int, named: Collection[str]) -> list[str]:
    """The hosts, other than the ones `named`, at which somebody listens on `port`; loopback ones first."""
    found = [_ANY.get(each.host, each.host.removeprefix("::ffff:")) for each in listeners if each.port == port]
    return sorted({each for each in found if each not in named}, key=lambda each: (not _loopback(each), each))


def _loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


def _resolved(host: str) -> list[str]:
    try:
        return list(dict.fromkeys(str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)))
    except OSError:
        return []


def _ours(address: str) -> bool:
    """Whether it is an address of this machine: only such a one can be bound."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as held:
            held.bind((address, 0))
    except OSError:
        return False
    return True


def answers(url: str) -> bool:
    """Whether anything answers at all."""
    return probe.request(Probe(f"{url}/v1/models", timeout=_SECONDS)).status != 0


def above(url: str) -> str:
    """The address of a server above a path that it does not have (`/v1/messages`, `/ui`); empty where none answers there."""
    at = addresses.parts(url)
    names = [each for each in at.path.split("/") if each]
    longest = names.index("v1") if "v1" in names else len(names) - 1  # which clients add themselves
    for kept in range(longest, -1, -1):
        root = f"{at.scheme}://{at.netloc}" + "".join(f"/{each}" for each in names[:kept])
        answer = probe.request(Probe(f"{root}/v1/models", timeout=_SECONDS))
        if answer.status in {200, 401, 403} and answer.json() is not None:
            return root
    return ""
