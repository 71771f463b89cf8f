"""The models that a server lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackctl.checks import target

if TYPE_CHECKING:
    from stackctl.checks.live.peer import Peer


def named(peer: Peer) -> str:
    """The models that it lists, for people."""
    listed = names(peer)
    return ", ".join(f"`{each}`" for each in listed[:8]) or "none"


def names(peer: Peer) -> list[str]:
    """The ids of its model list; empty when there is none."""
    return [str(each.get("id")) for each in cards(peer)]


def cards(peer: Peer) -> list[dict[str, Any]]:
    """The rows of `/v1/models`."""
    return target.rows(peer.get("/v1/models"))
