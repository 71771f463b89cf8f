"""Remedies as they must be typed: answers and symptoms write commands for the default stack, with one engine, of stackctl's."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from stackctl import names
from stackctl.errors import StackError
from stackctl.model import ServiceKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.checks.facts import Facts
    from stackctl.config import Flags
    from stackctl.model import Finding

_COMMAND = re.compile(
    r"\bstackctl (?P<verb>up|down|restart|status|logs|env|launch|render|key rotate|doctor)\b"
    r"(?P<more>(?: -[a-z]\b| --(?!name\b)[a-z]+(?: [A-Z]+)?| (?:claude|codex|opencode|qwen)\b)*)(?P<service> engine\b| gateway\b)?(?![^`;,)\n]* --name )"
)
_WHOLE = frozenset({"up", "restart", "launch", "render", "key rotate", "doctor"})  # they read the configuration
# What a server made by hand has no use for: it is only another way, beside the first one.
_OTHER_WAY = re.compile(
    r",? or (?:better: +)?(?:eval \"\$\(stackctl env\)\"|stackctl launch claude)| \(stackctl env does\)"
)


def typed(found: Finding, facts: Facts, check: str) -> Finding:
    """The finding of the check with the id `check`, its remedy as it can be typed for what was looked at.

    That is: the stack's name, configuration, model and gateway where they are not what a command takes by itself, and
    the service by the name that it has here. A server that stackctl did not start gets its own remedy.
    """
    if not found.remedy:
        return found
    engine, gateway = _services(found, facts, check)
    about = gateway if found.hop == "gateway" or "@gateway:" in check else engine
    if found.by_hand and (not facts.own or about is None):
        return replace(found, remedy=_OTHER_WAY.sub("", found.by_hand))
    if not facts.own:
        return replace(found, remedy=_OTHER_WAY.sub("", found.remedy))
    known = {" engine": engine, " gateway": gateway, None: ""}

    def filled(each: re.Match[str]) -> str:
        service = known[each["service"]] or ""
        whole = each["verb"] in _WHOLE and not service
        options = _options(facts, verb=each["verb"]) if whole else _name(facts)
        return f"stackctl {each['verb']}{each['more']}{' ' if service else ''}{service}{options}"

    return replace(found, remedy=_COMMAND.sub(filled, found.remedy))


def of_flags(remedy: str, flags: Flags, environ: Mapping[str, str]) -> str:
    """A remedy's commands with the name, the configuration and the model that the user named."""
    try:
        name = names.option(names.stack_name(flags.name, flags.config, environ))
    except (StackError, OSError):
        name = f" --name {flags.name}" if flags.name else ""

    def filled(each: re.Match[str]) -> str:
        whole = each["verb"] in _WHOLE and not each["service"]
        options = _chosen(flags, environ, verb=each["verb"]) if whole else ""
        return f"stackctl {each['verb']}{each['more']}{each['service'] or ''}{options}{name}"

    return _COMMAND.sub(filled, remedy)


def _services(found: Finding, facts: Facts, check: str) -> tuple[str | None, str | None]:
    """What the engine and the gateway that a finding is about are called; empty where it may be any, None for none of ours."""
    engines = facts.prepared.plan.engines if facts.prepared is not None else ()
    ours = {each.name: each.service if each.managed else None for each in engines}
    where, _, name = check.partition("@")[2].partition(":")
    lane = next((each for each in facts.lanes if each.route == name), None) if where == "gateway" else None
    behind = (lane.engine.name if lane.engine is not None else "") if lane is not None else name
    engine: str | None
    if found.service and found.hop != "gateway":
        engine = found.service
    elif where:
        engine = ours.get(behind)
    else:
        engine = _only(facts, [each for each in ours.values() if each is not None])
    direct = facts.prepared is not None and not facts.prepared.plan.gateway.argv
    return engine, engine if direct else "gateway"


def _only(facts: Facts, planned: list[str]) -> str:
    """The one engine of ours that there is; empty where there are several."""
    recorded = facts.state.services if facts.state is not None else ()
    found = planned or [each.name for each in recorded if each.kind is ServiceKind.ENGINE] or ["engine"]
    return found[0] if len(found) == 1 else ""


def _name(facts: Facts) -> str:
    return names.option(facts.paths.name) if facts.paths is not None else ""


def _options(facts: Facts, *, verb: str) -> str:
    """The options of a command that reads the configuration."""
    return _chosen(facts.flags, facts.environ, verb=verb) + _name(facts)


def _chosen(flags: Flags, environ: Mapping[str, str], *, verb: str) -> str:
    made = ""
    if flags.config and os.path.abspath(flags.config) != names.usual_file(environ):
        made += f" -c {shlex.quote(flags.config)}"
    if flags.model:
        made += f" --model {shlex.quote(flags.model)}"
    if flags.gateway and verb != "doctor":
        made += f" --gateway {shlex.quote(flags.gateway)}"
    return made
