"""What must be true of this machine before anything is started. Small functions: Prepared -> findings, none where all is fine."""

from __future__ import annotations

import errno
import os
import shlex
import socket
from typing import TYPE_CHECKING

from stackctl import belongings, files, paths, runstate, sockets, toolchain
from stackctl.checks import code, preflight_model
from stackctl.errors import PreflightError
from stackctl.host import DISK_FLOOR
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stackctl.plan import EnginePlan
    from stackctl.planning import Prepared

MIB = 1024**2
SHM_FLOOR = 32 * MIB  # vLLM's message queues between its processes; a container's default is 64 MB


def _directories(prepared: Prepared) -> tuple[str, ...]:
    stack = prepared.paths
    return paths.home(), stack.root, stack.logs, stack.engine_dir, stack.gateway_dir


def directories(prepared: Prepared) -> Iterator[Finding]:
    """The state directories that are there are ours alone (else PreflightError), and the missing ones can be made.

    Nothing is made yet: a start that is refused leaves nothing behind.
    """
    for each in _directories(prepared):
        if os.path.lexists(each):
            files.check_private_dir(each)
    if os.path.lexists(prepared.paths.lock) and (
        os.path.islink(prepared.paths.lock) or not os.path.isfile(prepared.paths.lock)
    ):
        raise PreflightError(f"the lock {prepared.paths.lock} is not a file", remedy=f"rm -r {prepared.paths.lock}")
    there = prepared.paths.root
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding(
            "directories", Status.FAIL, f"the state directory {paths.home()} cannot be made: {there} is not yours to write",
            remedy="set STACKCTL_HOME to a directory that you can write to",
        )  # fmt: skip


def make_directories(prepared: Prepared) -> None:
    """Make the state directories of a stack that is going to be started. Raises PreflightError where that fails."""
    for each in _directories(prepared):
        files.private_dir(each)


def ports(prepared: Prepared) -> Iterator[Finding]:
    """The ports can be bound now; if not, who holds them. LiteLLM would move to a random one without a word."""
    plan = prepared.plan
    engines = plan.managed if plan.gateway.argv else ()
    wanted = [(_who(each), each.port, "127.0.0.1", f"engines.{each.name}.port") for each in engines]
    wanted.append(("gateway", plan.gateway.port, plan.gateway.host, "gateway.port"))
    for who, port, host, key in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except OSError as error:
                yield _port_finding(who, port, host, key, error)


def _who(engine: EnginePlan) -> str:
    return "engine" if engine.service == "engine" else f"engine `{engine.name}`"


def _stack_at(port: int) -> str:
    """The name of the running stack that has `port`; empty where none has."""
    for each in belongings.stacks():
        state = runstate.running(each)
        if state is not None and any(service.port == port for service in state.services):
            return each.name
    return ""


def _port_finding(who: str, port: int, host: str, key: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        holder = sockets.holder(host, port) or "a program of another user"
        other = _stack_at(port)
        return Finding(
            f"port.{who}",
            Status.FAIL,
            f"port {port}, which the {who} needs, is held by {f'the stack `{other}`: ' if other else ''}{holder}",
            remedy=f"{f'stackctl down --name {other} ' if other else 'stop that program'}, or set {key} to another port",
        )
    if error.errno == errno.EACCES:
        return Finding(
            f"port.{who}",
            Status.FAIL,
            f"port {port} is privileged: this user may not listen below 1024",
            remedy=f"set {key} to 1024 or above",
        )
    return Finding(
        f"address.{who}",
        Status.FAIL,
        f"the {who} cannot listen on {host}:{port}: {error.strerror}",
        remedy="set gateway.host to 127.0.0.1, or to an address that this machine has",
    )


def versions(prepared: Prepared) -> Iterator[Finding]:
    """vLLM and LiteLLM are versions that we know, and not ones that must never run."""
    tools = [*(each.toolchain for each in prepared.plan.engines), prepared.plan.gateway.toolchain]
    for tool in dict.fromkeys(tools):
        if tool is not None:
            yield from toolchain.check(tool, allow_untested=prepared.loaded.config.allow_untested)


def disk(prepared: Prepared) -> Iterator[Finding]:
    """Room for logs and state."""
    free = prepared.host.disk_free(prepared.paths.root)
    if free < DISK_FLOOR:
        yield Finding(
            "disk",
            Status.FAIL,
            f"only {free / MIB:.0f} MiB are free on the disk of {prepared.paths.root}",
            remedy="free 1 GiB (stackctl gc  removes what nothing uses), or set STACKCTL_HOME to another disk",
            fix=shlex.join(("space", prepared.paths.root, str(DISK_FLOOR))),
        )


def shared_memory(prepared: Prepared) -> Iterator[Finding]:
    """The shared memory that vLLM keeps its queues in has room."""
    free = prepared.host.shm_free
    if prepared.plan.managed and free is not None and free < SHM_FLOOR:
        yield Finding(
            "shm",
            Status.FAIL,
            f"the shared memory (/dev/shm) has only {free / MIB:.0f} MiB free and vLLM keeps its queues there",
            remedy="in a container: --shm-size=1g (or --ipc=host); else clear old files in /dev/shm",
        )


def gpu(prepared: Prepared) -> Iterator[Finding]:
    """A driver that is installed answers."""
    problem = prepared.host.gpu_problem
    if problem and prepared.plan.managed:
        yield Finding(
            "gpu",
            Status.WARN,
            problem if prepared.host.gpus else f"{problem}: serving on the CPU",
            remedy="nvidia-smi says more; after a driver update, reboot",
        )


def provider_keys(prepared: Prepared) -> Iterator[Finding]:
    """The variables that hosted routes take their keys from are set."""
    for name, to in prepared.loaded.hosted.items():
        variable = to.api_key.removeprefix("env/")
        if not os.environ.get(variable):
            yield Finding(
                f"key.{name}", Status.FAIL, f"the route `{name}` takes its provider's key from ${variable}, which is not set",
                remedy=f"export {variable}=...",
            )  # fmt: skip


MACHINE: tuple[Callable[[Prepared], Iterator[Finding]], ...] = (
    directories,
    ports,
    disk,
    shared_memory,
    gpu,
    preflight_model.files,
    preflight_model.memory,
    provider_keys,
)
TOOLS: tuple[Callable[[Prepared], Iterator[Finding]], ...] = (versions, preflight_model.parsers, code.here)


def run(
    prepared: Prepared, checks: tuple[Callable[[Prepared], Iterator[Finding]], ...] = (*MACHINE, *TOOLS)
) -> list[Finding]:
    """All findings that are not fine. Raises PreflightError where a check itself cannot go on."""
    return [finding for check in checks for finding in check(prepared) if finding.bad]
