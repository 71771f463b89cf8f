"""Whether Claude Code sums up a long conversation before the window is full; with a local model's that is soon."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.client import told
from stackctl.clients import claude_settings
from stackctl.clients.conflicts import text_of
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_SWITCHES = ("DISABLE_COMPACT", "DISABLE_AUTO_COMPACT")  # as Claude Code 2.1.330 reads them, like what follows
_ON = {"1", "true", "yes", "on"}
_SETTING = "autoCompactEnabled"
_OFF = re.compile(rf'"{_SETTING}"\s*:\s*false\b')
_ROOMY = 131_072  # tokens; with as many, a person who switched it off can see to it


def compaction(facts: Facts) -> Iterator[Finding]:
    """Claude Code sums up by itself where the window is small."""
    client = facts.state.client if facts.state is not None and facts.running else None
    if client is None or not client.window or client.window >= _ROOMY or not told.uses(facts):
        return
    name, where = _off(facts)
    if where:
        window = f"{client.window:,}"
        yield answers.finding(
            "client.compact-off", Status.WARN, (where,), where=where, window=window, name=name, blocks=False
        )


def _off(facts: Facts) -> tuple[str, str]:
    """(name, where it is said) of what switches it off; empty ones where it is on."""
    sources, environ = claude_settings.sources(facts.environ, facts.cwd), told.environment(facts)
    for name in _SWITCHES:
        if environ.get(name, "").strip().lower() in _ON:
            return name, f"{sources[name][0]} sets {name}" if name in sources else f"{name} is set"
    state, where = claude_settings.state_file(facts.environ), ""
    for path, _, content in claude_settings.contents(facts.environ, facts.cwd):
        if path == state and _OFF.search(text_of(path)):  # what /config wrote before it had a setting
            where = f"{path} has {_SETTING} off"
        elif isinstance(content.get(_SETTING), bool):
            where = "" if content[_SETTING] else f"{path} sets {_SETTING} to false"
    return (_SETTING, where) if where else ("", "")


CHECKS = (
    Check("client.compaction", Hop.CLIENT, "Claude Code sums up by itself where the window is small.", compaction),
)
