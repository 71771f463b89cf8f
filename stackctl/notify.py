"""Words to the service manager that started us, by sd_notify(3): a datagram to $NOTIFY_SOCKET. Standard library only."""

from __future__ import annotations

import os
import socket

_PATIENCE = 1.0  # seconds; a manager that does not read must not hold a stack up


def send(*assignments: str) -> bool:
    """Send assignments such as `READY=1`; False when nobody asked for them or nobody is there."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # Linux' abstract namespace
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagrams:
            datagrams.settimeout(_PATIENCE)
            datagrams.sendto("\n".join(each.replace("\n", " ") for each in assignments).encode(), address)
    except OSError:
        return False
    return True
