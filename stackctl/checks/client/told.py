"""What Claude Code started in this shell would really be told: the shell, and over it the `env` of its settings files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl import addresses
from stackctl.clients import claude_settings

if TYPE_CHECKING:
    from stackctl.checks.facts import Facts

_HERE = addresses.LOOPBACK | {"0.0.0.0"}
URL, MODEL = "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL"


def environment(facts: Facts) -> dict[str, str]:
    """The variables that Claude Code gets."""
    found = claude_settings.sources(facts.environ, facts.cwd)
    return {**facts.environ, **{name: value for name, (_, value) in found.items()}}


def shells(facts: Facts) -> dict[str, str]:
    """The variables of the shell that no settings file overrules: those are judged by what overrules them."""
    found = claude_settings.sources(facts.environ, facts.cwd)
    return {name: value for name, value in facts.environ.items() if name not in found}


def url(facts: Facts) -> str:
    """Where Claude Code would send its requests; empty for Anthropic's own."""
    return environment(facts).get(URL, "").strip()  # as Claude Code reads it (2.1.330)


def gateway(facts: Facts) -> str:
    """The gateway that is looked at: of the stack that runs, or the one that was named; empty without one."""
    if facts.own:
        return facts.state.gateway_url if facts.running and facts.state is not None else ""
    return next((end.url for lane in facts.lanes for end in (lane.gateway, lane.engine) if end is not None), "")


def place(address: str) -> tuple[str, int]:
    """Host and port of an address, with one name for loopback."""
    host, port = addresses.place(address)
    if not host:
        return address, 0
    return ("127.0.0.1" if host in _HERE else host), port


def _same(address: str, facts: Facts) -> bool:
    return bool(address) and bool(gateway(facts)) and place(address) == place(gateway(facts))


def uses(facts: Facts) -> bool:
    """Whether Claude Code would be pointed at the gateway that is looked at."""
    return _same(url(facts), facts)


def meant(facts: Facts) -> bool:
    """Whether this shell is pointed there, whatever the settings files say."""
    return _same(facts.environ.get(URL, "").strip(), facts)
