"""The clients: one file each; this is the list. Light: `stackctl env` loads it and one client."""

from __future__ import annotations

from stackctl.errors import ConfigError

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from stackctl.clients.types import Client

NAMES = ("claude", "codex", "opencode", "qwen")
CURSOR = "cursor"  # has no command line that could use a stack on loopback; see clients/cursor.py


def get(name: str) -> Client:
    """The client of that name. Raises ConfigError, with the nearest name, for an unknown one."""
    if name == "claude":
        from stackctl.clients import claude

        return claude.CLIENT
    if name == "codex":
        from stackctl.clients import codex

        return codex.CLIENT
    if name == "opencode":
        from stackctl.clients import opencode

        return opencode.CLIENT
    if name == "qwen":
        from stackctl.clients import qwen

        return qwen.CLIENT
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), {*NAMES, CURSOR, "claude-code", "qwen-code"}, n=1, cutoff=0.5)
    meant = near[0].removesuffix("-code") if near else ""
    hint = f"did you mean {meant}?" if meant and meant != name else ""
    raise ConfigError(
        f"{name!r} is not a client that stackctl knows; {hint or 'it knows ' + ', '.join(NAMES)}",
        remedy=f"stackctl launch {meant if meant in NAMES else NAMES[0]}",
    )
