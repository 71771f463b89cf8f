"""Checks of this machine."""

from __future__ import annotations

import os
import resource
import socket
import time
from typing import TYPE_CHECKING

from stackctl import toolchain
from stackctl.checks import answers, before, preflight, preflight_model
from stackctl.checks.check import Check, Hop
from stackctl.checks.modelfiles import runnable
from stackctl.host import GIB
from stackctl.model import Finding, ServiceKind, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stackctl.checks.facts import Facts
    from stackctl.planning import Prepared

_FILES = 1024  # open files: LiteLLM takes two for each stream, vLLM a few hundred at its start
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
_ADDRESSES = 64 * GIB  # bytes of address space: CUDA reserves far more than it uses
_LARGEST = 16 * GIB  # bytes of one file: a shard of weights
_LIFE = 86400.0  # seconds of processor time: a server works for longer
_TASKS = 512  # processes and threads of this user: vLLM starts a thread for each processor in each of its processes
_PAST = 1735689600.0  # 1 January 2025: certificates of today are not valid before
_AHEAD = 3600.0  # seconds that a recorded time may lie in the future
_ELSEWHERE = 86400.0  # and one that another machine may have set: file systems without time zones


def _recorded(facts: Facts) -> bool:
    """Whether a stack runs or has left a record: what it holds of this machine is its own."""
    return facts.running or facts.state is not None or facts.state_error is not None


def _planned(
    check: Callable[[Prepared], Iterator[Finding]], name: str, *, down: bool = False
) -> Callable[[Facts], Iterator[Finding]]:
    """A step of the preflight as a check; with `down` only for a stack that does not run."""

    def run(facts: Facts) -> Iterator[Finding]:
        if facts.prepared is not None and not (down and _recorded(facts)):
            yield from before.step(check, facts.prepared, name)

    return run


def memory(facts: Facts) -> Iterator[Finding]:
    """A model that writes, in a precision of this hardware's, has room: of any other that is no lack of memory."""
    if any(each.id == "model.not-generative" for each in runnable.architecture(facts)):
        yield Finding("machine.memory", Status.SKIPPED, "needs model.kind", hop=Hop.MACHINE)
        return
    if any(runnable.precision(facts)):
        yield Finding("machine.memory", Status.SKIPPED, "needs model.precision", hop=Hop.MACHINE)
        return
    yield from _planned(preflight_model.memory, "machine.memory", down=True)(facts)


def driver(facts: Facts) -> Iterator[Finding]:
    """The NVIDIA driver is new enough for the vLLM that is, or would be, installed."""
    prepared = facts.prepared
    tools = [each.toolchain for each in prepared.plan.managed] if prepared is not None else []
    tool = next((each for each in tools if each is not None), None)
    if prepared is None or tool is None or _recorded(facts) or not (prepared.host.gpus or not tool.installed):
        return
    found = toolchain.requirements(ServiceKind.ENGINE, prepared.host.accelerator, prepared.host)
    yield from before.bad(each for each in found if not tool.installed or each.id == "requirements.driver")


def clock(facts: Facts) -> Iterator[Finding]:
    """The clock is not in the past: else no certificate is valid, and logs lie."""
    now = time.time()
    seen = (
        [(each.since, f"{each.name} was started") for each in facts.state.services] if facts.state is not None else []
    )
    files = (facts.paths.state, facts.paths.client_key, facts.paths.logs) if facts.paths is not None else ()
    seen += [(_written(each), f"{each} was written") for each in files]
    if facts.loaded is not None and facts.loaded.source is not None:  # files of people's own come from elsewhere, too
        source = facts.loaded.source
        seen.append((_written(source) - _ELSEWHERE, f"{source} was written"))
    ahead = [f"{what} in the future" for at, what in seen if at > now + _AHEAD]
    if now < _PAST or ahead:
        told = time.strftime("%Y-%m-%d %H:%M", time.localtime(now))
        yield answers.finding("machine.clock", Status.WARN, (f"now: {told}", *ahead[:3]), told=told)


def _written(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def limits(_facts: Facts) -> Iterator[Finding]:
    """The shell's limits leave room for what vLLM and LiteLLM need."""
    files = _limit("NOFILE", hard=True)  # both raise the soft one by themselves
    if files < _FILES:
        yield _limited(Status.WARN, f"ulimit -Hn: {files:.0f}", f"{files:.0f} open files", "-n 65536")
    space = _limit("AS")
    if space < _ADDRESSES:
        what = f"{space / GIB:.1f} GiB of address space"
        yield _limited(Status.FAIL, f"ulimit -v: {space / 1024:.0f} KiB", what, "-v unlimited")
    largest = _limit("FSIZE")
    if largest < _LARGEST:
        what = f"{largest / GIB:.1f} GiB for one file (weights come in files of 5 GiB and more)"
        yield _limited(Status.WARN, f"ulimit -f: {largest / 1024:.0f} KiB", what, "-f unlimited")
    life = _limit("CPU")
    if life < _LIFE:
        what = f"{life:.0f} s of work for a process (the kernel ends it then)"
        yield _limited(Status.WARN, f"ulimit -t: {life:.0f}", what, "-t unlimited")
    tasks = _limit("NPROC")
    if tasks < _TASKS and os.geteuid():  # root has none
        yield _limited(Status.WARN, f"ulimit -u: {tasks:.0f}", f"{tasks:.0f} processes and threads", "-u 4096")


def _limit(name: str, *, hard: bool = False) -> float:
    """A limit of this process; infinite where there is none, or the system has no such one."""
    which = getattr(resource, f"RLIMIT_{name}", None)
    found = resource.getrlimit(which)[int(hard)] if which is not None else resource.RLIM_INFINITY
    return float("inf") if found == resource.RLIM_INFINITY else float(found)


def _limited(status: Status, shown: str, what: str, flag: str) -> Finding:
    return answers.finding("machine.limits", status, (shown,), what=what, flag=flag)


def localhost(facts: Facts) -> Iterator[Finding]:
    """`localhost` means 127.0.0.1 here: vLLM and LiteLLM listen on IPv4 only."""
    found = _addresses("localhost")
    if "127.0.0.1" in found:
        return
    used = [name for name, value in facts.environ.items() if "//localhost" in value and name.endswith("_URL")]
    shown = ", ".join(found) or "nothing"
    yield answers.finding(
        "machine.localhost", Status.FAIL if used else Status.WARN, (f"localhost is {shown}", *used), shown=shown
    )


def _addresses(name: str) -> list[str]:
    try:
        rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def ports(facts: Facts) -> Iterator[Finding]:
    """The ports of a stack that does not run are free; what is left of its own is another finding's."""
    left = facts.state is not None or facts.state_error is not None
    if not left:
        yield from _planned(preflight.ports, "machine.port-held", down=True)(facts)


def certificates(facts: Facts) -> Iterator[Finding]:
    """Files of certificates that variables name are there: downloads and LiteLLM die without them."""
    for name in _CERTIFICATES:
        path = facts.environ.get(name)
        if path and not os.path.exists(path):
            yield answers.finding(
                "machine.certificates", Status.WARN, (f"{name}={path}",), name=name, path=path, blocks=False
            )


CHECKS = (
    Check("machine.certificates", Hop.MACHINE, "The files of certificates that variables name are there.", certificates),
    Check("machine.gpu", Hop.MACHINE, "A GPU's driver that is installed answers.", _planned(preflight.gpu, "machine.gpu")),
    Check("machine.driver", Hop.MACHINE, "This machine can run the build of vLLM that suits it.", driver),
    Check(
        "machine.memory", Hop.MACHINE, "The model fits into the memory that is free.",
        memory, ("configuration.values",),
    ),
    Check(
        "machine.state", Hop.MACHINE, "The state directory is ours alone and can be written.",
        _planned(preflight.directories, "machine.state-directory"),
    ),
    Check("machine.disk", Hop.MACHINE, "Logs and state have room.", _planned(preflight.disk, "machine.disk")),
    Check("machine.shm", Hop.MACHINE, "vLLM's queues have room in /dev/shm.", _planned(preflight.shared_memory, "machine.shm")),
    Check(
        "machine.ports", Hop.MACHINE, "The ports of a stack that does not run are free.",
        ports,
    ),
    Check("machine.clock", Hop.MACHINE, "The clock is right enough for certificates.", clock),
    Check("machine.limits", Hop.MACHINE, "The shell's limits leave room for the services.", limits),
    Check("machine.localhost", Hop.MACHINE, "`localhost` is 127.0.0.1.", localhost),
)  # fmt: skip
