"""Checks of the client's side: the names for background work, what spoils the cache."""

from __future__ import annotations

import os
import stat
from dataclasses import asdict
from typing import TYPE_CHECKING

from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.client import told
from stackctl.clients import claude
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_NAMES = (
    "ANTHROPIC_SMALL_FAST_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
    *(f"ANTHROPIC_DEFAULT_{each}_MODEL" for each in claude.TIERS),
)
_SPOILERS = {"CLAUDE_CODE_ATTRIBUTION_HEADER": "0"}  # what keeps the prompt's beginning the same from turn to turn


def tiers(facts: Facts) -> Iterator[Finding]:
    """Each name that Claude Code asks for in the background is one that the stack serves."""
    client = facts.client
    if client is None or not told.uses(facts):
        return
    served = {client.model, client.served, *(facts.loaded.config.aliases if facts.loaded is not None else ())}
    if facts.loaded is not None:
        served |= set(facts.loaded.config.routes)
    wanted = claude.environment(asdict(client), None, {})
    shell = told.shells(facts)
    wrong = [name for name in _NAMES if shell.get(name) and shell[name] not in served | {wanted.get(name, "")}]
    if wrong:
        shown = [f"{name}={shell[name]}" for name in wrong]
        yield answers.finding(
            "client.unserved-tier",
            Status.WARN,
            shown,
            name=wrong[0],
            model=shell[wrong[0]],
            right=client.model,
            names=" ".join(wrong),
            blocks=False,
        )


def cache(facts: Facts) -> Iterator[Finding]:
    """Nothing that Claude Code puts before each prompt makes the engine read all of it again."""
    if facts.own and not told.uses(facts):
        return
    for name, good in _SPOILERS.items():
        if told.url(facts) and facts.environ.get(name, good) != good:
            shown = (f"{name}={facts.environ[name]}",)
            yield answers.finding("client.cache-spoiler", Status.WARN, shown, name=name, good=good, blocks=False)


def key_file(facts: Facts) -> Iterator[Finding]:
    """Nobody else can read the file of the client's key."""
    if facts.paths is None:
        return
    try:
        mode = stat.S_IMODE(os.lstat(facts.paths.client_key).st_mode)
    except OSError:
        return
    if mode & 0o077:
        shown = (f"{facts.paths.client_key}: mode {mode:04o}",)
        yield answers.finding("client.key-readable", Status.WARN, shown, path=facts.paths.client_key, blocks=False)


CHECKS = (
    Check("client.key-private", Hop.CLIENT, "Nobody else can read the file of the client's key.", key_file),
    Check("client.tiers", Hop.CLIENT, "The names for background work are served.", tiers, ("client.address",)),
    Check("client.cache", Hop.CLIENT, "Nothing spoils the prefix cache.", cache, ("client.address",)),
)
