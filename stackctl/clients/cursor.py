"""Cursor: the truth. Its own servers call the address of a "bring your own key" model, so loopback cannot work."""

from __future__ import annotations

from stackctl.errors import ConfigError

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

_LOCAL = ("localhost", "127.", "::1", "0.0.0.0", "10.", "192.168.", "169.254.")


def explain(facts: Mapping[str, object]) -> list[str]:
    """What to type into Cursor's settings. Raises ConfigError when Cursor's servers cannot reach the gateway."""
    from urllib.parse import urlsplit

    place = urlsplit(str(facts["url"]))
    if _unreachable(place):
        raise ConfigError(
            f"Cursor cannot use {facts['url']}: its own servers make the requests, and they cannot reach this address",
            remedy="in Cursor, use the Claude Code extension or a terminal (stackctl launch claude); or give the gateway "
            "a public HTTPS address of your own and run: stackctl env --client cursor --url https://YOUR-ADDRESS",
        )
    return [
        "Cursor reads no environment. In its settings, under Models:",
        f"  Override OpenAI Base URL   {facts['url']}/v1",
        "  OpenAI API Key             the stack's client key (stackctl env --shell json shows it)",
        f"  Add model                  {facts['served'] or facts['model']}",
        "It serves chat and agent, not tab completion; and your prompts pass through Cursor's servers.",
    ]


def _unreachable(place: SplitResult) -> bool:
    host = (place.hostname or "").lower()
    return place.scheme != "https" or host.startswith(_LOCAL) or "." not in host or host.endswith(".local")
