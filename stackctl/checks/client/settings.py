"""Checks of Claude Code's settings files: what they overrule, and what of them it does not read."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.client import told
from stackctl.clients import claude, claude_conflicts, claude_settings
from stackctl.clients.conflicts import text_of
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_HARD = {told.URL, claude.TOKEN, "ANTHROPIC_MODEL", *claude.SWITCHES}
_LARGEST = 1 << 20  # bytes of a file that are read
_MEANT = re.compile(r"settings?(\.local)?\.(jsonc?|json5|json\.txt|txt|ya?ml|toml)|config\.json", re.IGNORECASE)
_OURS = re.compile(r"(ANTHROPIC|CLAUDE_CODE)_[A-Z_]+|API_TIMEOUT_MS")


def read(facts: Facts) -> Iterator[Finding]:
    """Claude Code reads its settings files."""
    state = claude_settings.state_file(facts.environ)
    for path, _ in claude_settings.paths(facts.environ, facts.cwd):
        not_json, refused = _unreadable(path)
        if path == state and not_json:
            yield answers.finding("client.state-broken", Status.FAIL, (f"{path}: {not_json}",), path=path)
        elif path != state and (not_json or refused):
            lost = told.URL in text_of(path) and not told.uses(facts)
            why = f"{path} is not JSON" if not_json else f"{path} is ignored as a whole: {refused}"
            yield answers.finding(
                "client.settings-broken", Status.FAIL if lost else Status.WARN, (f"{path}: {not_json or refused}",),
                why=why, blocks=False,
            )  # fmt: skip


def _unreadable(path: str) -> tuple[str, str]:
    """(why it is not JSON, why Claude Code refuses what it says); empty where there is nothing against it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # nobody may ever write into a FIFO
        with open(handle, "rb") as stream:
            raw = stream.read(_LARGEST)
        if len(raw) == _LARGEST or (not raw and path.endswith(".claude.json")):
            return "", ""  # too long to be judged; and an empty one is written anew
        found = json.loads(raw)
        return "", "" if path.endswith(".claude.json") else claude_settings.refused(found)
    except FileNotFoundError:
        return "", ""
    except OSError as error:
        return error.strerror or "not readable", ""
    except (ValueError, RecursionError, TypeError) as error:
        return str(error), ""


def overrule(facts: Facts) -> Iterator[Finding]:
    """No settings file of Claude Code's says something else than the stack."""
    client = facts.client
    if client is None:
        return
    wanted = claude.environment(claude.for_installed(asdict(client), facts.environ), facts.client_key, facts.environ)
    found = [each for each in claude_conflicts.in_settings(wanted, facts.environ, facts.cwd) if not each.aside]
    hard = [each for each in found if any(f"sets {name}" in each.what for name in _HARD)]
    for each in hard or found:
        heavy = each in hard and (told.meant(facts) or told.uses(facts) or each.beats_launch)
        remedy = "stackctl launch claude" if not each.beats_launch else "an administrator has to change it"
        yield answers.finding(
            "client.settings-override", Status.FAIL if heavy else Status.WARN, (f"{each.where} {each.what}",),
            where=each.where, what=each.what, way=remedy, blocks=False,
        )  # fmt: skip


def unread(facts: Facts) -> Iterator[Finding]:
    """What is written for Claude Code stands where it looks."""
    status = Status.WARN if told.url(facts) else Status.FAIL
    known = [path for path, _ in claude_settings.paths(facts.environ, facts.cwd)]
    for path in known:
        names = [name for name in claude_settings.read(path) if _OURS.fullmatch(name)]
        if names:
            what = f"has {', '.join(names)} outside of `env`, where Claude Code does not look"
            yield _unread(path, what, 'move it into  {"env": { ... }}  of that file', status)
    if told.url(facts):
        return
    for folder in dict.fromkeys((claude_settings.folder(facts.environ), os.path.join(facts.cwd, ".claude"))):
        for name in _names(folder):
            path = os.path.join(folder, name)
            if path not in known and _MEANT.fullmatch(name) and told.URL in text_of(path):
                what = f"sets {told.URL}, and Claude Code reads no file of that name there"
                yield _unread(path, what, f"name it {os.path.join(folder, 'settings.json')}", Status.WARN)


def _unread(path: str, what: str, way: str, status: Status) -> Finding:
    return answers.finding(
        "client.settings-unread", status, (f"{path} {what}",), where=path, what=what, way=way, blocks=False
    )


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def start_files(facts: Facts) -> Iterator[Finding]:
    """No start-up file and no editor sets another address."""
    client = facts.client
    if client is None:
        return
    wanted = claude.environment(claude.for_installed(asdict(client), facts.environ), None, facts.environ)
    for each in claude_conflicts.elsewhere(wanted, facts.environ, facts.cwd):
        if " ANTHROPIC_BASE_URL " in each.what or "claudeCode.environmentVariables" in each.what:
            yield answers.finding(
                "client.start-file",
                Status.WARN,
                (f"{each.where} {each.what}",),
                where=each.where,
                what=each.what,
                blocks=False,
            )


CHECKS = (
    Check("client.settings-read", Hop.CLIENT, "Claude Code can read its settings files.", read),
    Check("client.settings", Hop.CLIENT, "No settings file of Claude Code's says something else.", overrule),
    Check("client.settings-place", Hop.CLIENT, "What is written for Claude Code stands where it looks.", unread),
    Check("client.start-files", Hop.CLIENT, "No start-up file or editor sets another address.", start_files),
)
