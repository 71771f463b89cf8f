"""Checks of the services that run, or should: from the record, the processes and their sockets; no request is sent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackctl import identity, sockets, transitions
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.model import Finding, ServiceKind, State, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from stackctl.checks.facts import Facts
    from stackctl.identity import ProcessRow
    from stackctl.runstate import ServiceRecord

_OFTEN = 3  # deaths in one run that are no accident


def supervised(facts: Facts) -> Iterator[Finding]:
    """A stack that is recorded has its supervisor, here."""
    state, paths = facts.state, facts.paths
    if facts.state_error is not None:
        yield answers.finding("engine.state-broken", Status.FAIL, (facts.state_error.message,))
    elif state is None or paths is None:
        yield Finding("engine.supervised", Status.SKIPPED, "the stack is not running", hop=Hop.ENGINE)
    elif state.elsewhere:
        yield answers.finding("engine.elsewhere", Status.WARN, host=state.hostname)
    elif not facts.running:
        left = [f"{each.name}: pid {each.pid}" for each in state.services if _alive(each)]
        yield answers.finding("engine.supervisor-dead", Status.FAIL, left, count=len(left))
    elif state.supervisor is not None and _is_stopped(identity.table().get(state.supervisor.pid)):
        shown = (f"supervisor: pid {state.supervisor.pid}",)
        yield answers.finding("engine.supervisor-stopped", Status.WARN, shown, pid=state.supervisor.pid, blocks=False)


def _alive(each: ServiceRecord) -> bool:
    return each.leader is not None and identity.alive(each.leader)


def service(kind: ServiceKind) -> Callable[[Facts], Iterator[Finding]]:
    """The check of the services of one kind."""

    def run(facts: Facts) -> Iterator[Finding]:
        if facts.state is not None and facts.running:
            for each in facts.state.services:
                if each.kind is kind:
                    yield from list(_unwell(each)) or _unheard(facts, each)

    return run


def _unheard(facts: Facts, each: ServiceRecord) -> Iterator[Finding]:
    """A log that was removed is still written, where nobody reads it."""
    path = facts.paths.log(each.name) if facts.paths is not None else ""
    if path and each.state is State.READY and not os.path.lexists(path):
        yield _named(each, "log-gone", Status.WARN, (f"{path} is not there",), {"service": each.name}, blocks=False)


def well(facts: Facts, name: str) -> bool:
    """Whether nothing is said against the processes of the service `name`."""
    services = facts.state.services if facts.state is not None and facts.running else ()
    return any(each.name == name and not any(_unwell(each)) for each in services)


def _unwell(each: ServiceRecord) -> Iterator[Finding]:
    """What the record and the processes of one service say against it; the first that explains the rest."""
    words = {"service": each.name, "kind": each.kind}
    seen = (f"{each.name}: {each.state}" + (f", {each.detail}" if each.detail else ""),)
    if each.state in {State.FAILED, State.STOPPED}:
        yield _named(each, "died", Status.FAIL, seen, words)
    elif each.state in {State.PENDING, State.STARTING} or _on_request(each):
        yield _named(each, "starting", Status.WARN, seen, words)
    elif each.state is State.STOPPING:
        yield _named(each, "stopping", Status.WARN, seen, words)
    elif each.leader is None or not identity.alive(each.leader):
        yield _named(each, "died", Status.FAIL, (*seen, f"pid {each.pid} is gone"), words)
    elif stopped := _stopped(each):
        yield _named(each, "stopped", Status.FAIL, (*seen, f"stopped: pid {', '.join(map(str, stopped))}"), words)
    elif each.state is State.RESTARTING:
        yield _named(each, "restarting", Status.FAIL, seen, words)
    elif each.state is State.UNREADY:
        yield _named(each, "unready", Status.FAIL, seen, words | {"detail": each.detail or "it does not answer"})
    elif each.state is State.READY and not _listens(each):
        yield _named(each, "deaf", Status.FAIL, (*seen, f"port {each.port}"), words | {"port": each.port})
    elif each.deaths >= _OFTEN:
        yield _named(each, "restarts", Status.WARN, seen, words | {"count": each.deaths}, blocks=False)


def _on_request(each: ServiceRecord) -> bool:
    return each.state is State.RESTARTING and each.detail.startswith(transitions.REQUESTED)


def _named(
    each: ServiceRecord,
    what: str,
    status: Status,
    evidence: tuple[str, ...],
    words: Mapping[str, object],
    *,
    blocks: bool = True,
) -> Finding:
    return answers.finding(f"{each.kind}.{what}", status, evidence, blocks=blocks, **words)


def _stopped(each: ServiceRecord) -> list[int]:
    """The processes of a service's tree that were stopped (SIGSTOP, a debugger)."""
    root = each.guard if each.guard is not None and identity.alive(each.guard) else each.leader
    if root is None:
        return []
    rows = identity.table()
    tree = [*identity.descendants(root.pid, rows), rows.get(root.pid)]
    return [row.pid for row in tree if row is not None and _is_stopped(row)]


def _is_stopped(row: ProcessRow | None) -> bool:
    return row is not None and row.state in {"T", "t"}


def _listens(each: ServiceRecord) -> bool:
    """Whether anything listens on the service's port on this machine."""
    return any(listener.port == each.port for listener in sockets.listening())


def key(facts: Facts) -> Iterator[Finding]:
    """The client key of a stack that runs can be read."""
    if not facts.running or facts.paths is None:
        return
    if facts.client_key_error is not None:
        said = facts.client_key_error.message
        yield answers.finding("gateway.key-file", Status.FAIL, (said,), said=said)
    elif facts.client_key is None:
        said = f"the key file {facts.paths.client_key} is gone"
        yield answers.finding("gateway.key-file", Status.FAIL, said=said)


CHECKS = (
    Check("engine.supervised", Hop.ENGINE, "A stack that is recorded has its supervisor.", supervised, ("machine.state",)),
    Check("engine.process", Hop.ENGINE, "The engine's processes run and listen.", service(ServiceKind.ENGINE), ("engine.supervised", "engine.log")),
    Check("gateway.process", Hop.GATEWAY, "The gateway's processes run and listen.", service(ServiceKind.GATEWAY), ("engine.supervised", "gateway.log")),
    Check("gateway.key-file", Hop.GATEWAY, "The client key is there.", key, ("engine.supervised",)),
)  # fmt: skip
