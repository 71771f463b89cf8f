"""Who listens where, with real sockets of real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stackctl import sockets

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTEN = (
    "import socket, sys, time\n"
    "s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)\n"
    "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
    "s.bind((sys.argv[1], int(sys.argv[2]))); s.listen()\n"
    "print(s.getsockname()[1], flush=True); time.sleep(60)"
)


class Listening:
    def __init__(self, host: str, port: int = 0) -> None:
        self.popen = subprocess.Popen([sys.executable, "-I", "-c", LISTEN, host, str(port)], stdout=subprocess.PIPE)
        assert self.popen.stdout is not None
        self.port = int(self.popen.stdout.readline())
        self.pid = self.popen.pid

    def end(self) -> None:
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        self.popen.kill()
        self.popen.wait()


@pytest.fixture
def listening() -> Iterator[list[Listening]]:
    found: list[Listening] = []
    yield found
    for each in found:
        each.end()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_listener_is_found_with_its_holder(listening: list[Listening], host: str) -> None:
    listening.append(one := Listening(host))
    asked = "::1" if host == "::1" else "127.0.0.1"
    held = sockets.holder(asked, one.port)
    assert held is not None
    assert held.pid == one.pid
    assert held.command.startswith("python")
    assert str(held) == f"{held.command} (pid {one.pid})"
    assert sockets.belongs_to(asked, one.port, [one.pid])
    assert not sockets.belongs_to(asked, one.port, [os.getpid()])


def reserved(host: str, port: int = 0) -> socket.socket:
    """A socket that is bound and does not listen: nobody else can listen there meanwhile."""
    found = socket.socket()
    found.bind((host, port))
    return found


def test_a_free_port_is_nobodys() -> None:
    with reserved("127.0.0.1") as free:
        port = free.getsockname()[1]
        assert sockets.holder("127.0.0.1", port) is None
        assert not sockets.belongs_to("127.0.0.1", port, [os.getpid()])


def test_a_port_shared_with_a_stranger_is_not_ours(listening: list[Listening]) -> None:
    listening.append(ours := Listening("127.0.0.1"))
    listening.append(theirs := Listening("127.0.0.1", ours.port))
    assert not sockets.belongs_to("127.0.0.1", ours.port, [ours.pid])
    assert sockets.belongs_to("127.0.0.1", ours.port, [ours.pid, theirs.pid])


def test_a_connection_is_not_a_listener(listening: list[Listening]) -> None:
    listening.append(one := Listening("127.0.0.1"))
    with socket.create_connection(("127.0.0.1", one.port)) as connected:
        assert sockets.holder("127.0.0.1", connected.getsockname()[1]) is None


def test_another_address_is_another_listener(listening: list[Listening]) -> None:
    with reserved("127.0.0.1") as free:
        port = free.getsockname()[1]
        listening.append(Listening("127.0.0.2", port))
        assert sockets.holder("127.0.0.1", port) is None
        assert sockets.holder("0.0.0.0", port) is not None


def test_who_is_connected_besides_ourselves_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert sockets.connected(port) is False
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            assert sockets.connected(port) is False  # that is us
            accepted.close()
        code = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-I", "-c", code, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            accepted, _ = server.accept()
            assert sockets.connected(port) is True
            accepted.close()
            other.communicate(timeout=20)
