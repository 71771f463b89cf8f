"""Where the connections go: nothing of a stack of one's own leaves the machine unasked; no gateway before a gateway."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

from stackctl import addresses
from stackctl.checks.answers import finding
from stackctl.model import Status
from stackctl.plan.types import EnginePlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import psutil

    from stackctl.checks.facts import Facts
    from stackctl.checks.live.peer import Peer
    from stackctl.model import Finding


def off_machine(facts: Facts) -> Iterator[Finding]:
    """No process of the stack has a connection to a machine that is not in the configuration."""
    import psutil

    allowed = _configured(facts)
    found: list[tuple[str, Any]] = []
    for process in _processes(facts):
        try:
            name = f"{process.name()} (pid {process.pid})"
            found += [
                (name, each)
                for each in process.net_connections("inet")
                if each.raddr and each.status == psutil.CONN_ESTABLISHED
            ]
        except (psutil.Error, OSError):
            continue
    own = {each.laddr for _, each in found}  # parts of one engine may talk to each other by the machine's own address
    seen = [
        f"{name} is connected to {each.raddr.ip} port {each.raddr.port}"
        for name, each in found
        if each.raddr not in own and not _fine(each.raddr.ip, allowed)
    ]
    if seen:
        yield finding("behaviour.off-machine", Status.WARN, list(dict.fromkeys(seen))[:6])


def _processes(facts: Facts) -> Iterator[psutil.Process]:
    import psutil

    services = facts.state.services if facts.state is not None else ()
    provider = facts.prepared is not None and any(
        not isinstance(each.to, EnginePlan) for each in facts.prepared.plan.routes
    )
    for root in [each.pid for each in services if each.pid]:
        if provider and _is_gateway(facts, root):
            continue  # a route to a provider's model is what it is there for
        try:
            process = psutil.Process(root)
            yield process
            yield from process.children(recursive=True)
        except (psutil.Error, OSError):
            continue


def _is_gateway(facts: Facts, pid: int) -> bool:
    services = facts.state.services if facts.state is not None else ()
    return any(each.pid == pid and each.name == "gateway" for each in services)


def _configured(facts: Facts) -> set[str]:
    """The addresses of engines that the configuration names."""
    found: set[str] = set()
    for lane in facts.lanes:
        for end in (lane.engine, lane.gateway):
            host = addresses.parts(end.url).hostname if end is not None else None
            if host:
                found |= set(_addresses(host))
    return found


def _addresses(host: str) -> Iterable[str]:
    try:
        return [str(each[4][0]) for each in socket.getaddrinfo(host, None)]
    except OSError:
        return []


def _fine(address: str, allowed: set[str]) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    mapped = getattr(ip, "ipv4_mapped", None)
    return (
        ip.is_loopback or address in allowed or (mapped is not None and (mapped.is_loopback or str(mapped) in allowed))
    )


def in_series(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """What stands behind the gateway is an engine, and not another gateway."""
    if engine is None:
        return
    reply = engine.ask("Say hi.", max_tokens=1)
    theirs = sorted(name for name in reply.headers if name.startswith("x-litellm"))
    if theirs and engine.endpoint.url != peer.endpoint.url:
        said = f"the engine's address answers with {', '.join(theirs[:3])}"
        yield finding("gateway.in-series", Status.WARN, (said,), **{**peer.words(), "behind": engine.endpoint.url})
