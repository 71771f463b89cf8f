"""Who listens where.

*Ready* must be answered by our own process tree: a stranger on our port that answers 200 is not our engine, and
LiteLLM moves to a random port when its own is taken. Linux reads `/proc/net/tcp{,6}` and `/proc/PID/fd` (proc(5));
elsewhere psutil is asked.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_LISTEN = "0A"
_ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening TCP socket; `inode` is 0 where the system has none."""

    host: str
    port: int
    uid: int
    inode: int
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a port. `pid` is None (and `command` empty) when it is another user's process."""

    pid: int | None
    command: str
    uid: int

    def __str__(self) -> str:
        if self.pid is None:
            return f"a process of uid {self.uid}"
        return f"{self.command} (pid {self.pid})"


def listening() -> list[Listener]:
    """Return every listening TCP socket of this network namespace, without its processes."""
    if not os.path.exists("/proc/net/tcp"):
        return _psutil_listening()
    found = []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(path) as lines:
            next(lines, "")
            for line in lines:
                fields = line.split()
                if len(fields) > 9 and fields[3] == _LISTEN:
                    address, _, port = fields[1].rpartition(":")
                    found.append(Listener(_host(address), int(port, 16), int(fields[7]), int(fields[9])))
    return found


def connected(port: int) -> bool | None:
    """Whether anybody but this process is connected to a TCP port of this machine; None where the system does not tell."""
    if not os.path.exists("/proc/net/tcp"):
        return None
    ours = _inodes_of(os.getpid())
    callers, own = set(), set()  # ports at the other end
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(path) as lines:
            next(lines, "")
            for line in lines:
                fields = line.split()
                if len(fields) < 10 or fields[3] != _ESTABLISHED:
                    continue
                here, there = (int(each.rpartition(":")[2], 16) for each in fields[1:3])
                if here == port:
                    callers.add(there)
                if there == port and int(fields[9]) in ours:
                    own.add(here)
    return bool(callers - own)


def _host(raw: str) -> str:
    words = struct.pack(f"={len(raw) // 8}I", *(int(raw[at : at + 8], 16) for at in range(0, len(raw), 8)))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)


def _psutil_listening() -> list[Listener]:
    import psutil  # no /proc: macOS, where other users' processes are not visible

    found: list[Listener] = []
    for process in psutil.process_iter():
        try:
            uid = process.uids().real
            found.extend(
                Listener(each.laddr.ip, each.laddr.port, uid, 0, (process.pid,))
                for each in process.net_connections("tcp")
                if each.status == psutil.CONN_LISTEN and each.laddr
            )
        except (psutil.Error, OSError):
            continue
    return found


def _inodes_of(pid: int) -> set[int]:
    inodes = set()
    with contextlib.suppress(OSError):
        for handle in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError, ValueError):
                target = os.readlink(f"/proc/{pid}/fd/{handle}")
                if target.startswith("socket:["):
                    inodes.add(int(target[8:-1]))
    return inodes


def _answers(listener: Listener, host: str, port: int) -> bool:
    """Say whether a connection to `host`:`port` could end at `listener`."""
    if listener.port != port:
        return False
    if host in {"", "localhost"}:
        return listener.host in {"0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:127.0.0.1"}
    wildcards = {"::"} if ":" in host else {"0.0.0.0", "::"}
    return listener.host in {host, f"::ffff:{host}", *wildcards} or host in {"0.0.0.0", "::"}


def belongs_to(host: str, port: int, pids: Collection[int]) -> bool:
    """Say whether `host`:`port` is listened on by processes of `pids` and by nobody else.

    By nobody else: with SO_REUSEPORT a second process could share the address and be given half of the requests.
    """
    answering = [each for each in listening() if _answers(each, host, port)]
    if not answering:
        return False
    if answering[0].inode == 0:
        return all(set(each.pids) & set(pids) for each in answering)
    ours = {inode for pid in pids for inode in _inodes_of(pid)}
    return all(each.inode in ours for each in answering)


def holder(host: str, port: int) -> Holder | None:
    """Return who holds `host`:`port`; None when nobody listens there."""
    answering = [each for each in listening() if _answers(each, host, port)]
    if not answering:
        return None
    if answering[0].inode == 0:
        pid = answering[0].pids[0]
        return Holder(pid, command_of(pid), answering[0].uid)
    inodes = {each.inode for each in answering}
    for name in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        if inodes & _inodes_of(int(name)):
            return Holder(int(name), command_of(int(name)), answering[0].uid)
    return Holder(None, "", answering[0].uid)


def command_of(pid: int) -> str:
    """Return the name of a process's program: what `ps -o comm` shows; no argument is read, they may hold secrets."""
    try:
        with open(f"/proc/{pid}/comm", errors="replace") as comm:
            return comm.read().strip()
    except OSError:
        pass
    try:
        import psutil  # no /proc: macOS

        return psutil.Process(pid).name()
    except Exception:  # noqa: BLE001 - gone, or not ours to see
        return "a process"
