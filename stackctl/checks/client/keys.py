"""Checks of the client's side: the key that Claude Code started in this shell would send."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from typing import TYPE_CHECKING

from stackctl import process
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.client import told
from stackctl.clients import claude, claude_settings
from stackctl.clients.conflicts import text_of
from stackctl.errors import StackError
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts

_API_KEY, _LOGIN = "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"
_BOTH = f"{claude.TOKEN} {_API_KEY}"
_KEPT = 20  # of a key that was refused once, Claude Code keeps the last characters
_PATIENCE = 5.0  # seconds for the user's own program


def key(facts: Facts) -> Iterator[Finding]:
    """One key would be sent, and it is the stack's."""
    if not told.url(facts):
        return
    environ = told.environment(facts)
    token, other = environ.get(claude.TOKEN, "").strip(), environ.get(_API_KEY, "").strip()
    shell = told.shells(facts)
    if token and shell.get(_API_KEY):
        yield answers.finding("client.two-keys", Status.WARN, blocks=False)
    if not facts.own or not told.uses(facts) or facts.client_key is None:
        return
    by_file = claude.TOKEN not in shell and bool(token)  # `settings` says what is wrong with it
    if token and token != facts.client_key and not by_file:
        yield answers.finding(
            "client.stale-key", Status.FAIL, (f"{claude.TOKEN} is not the stack's key",), names=claude.TOKEN
        )
    elif not token and claude_settings.value("apiKeyHelper", facts.environ, facts.cwd)[0]:
        return  # `helper` looks at that one
    elif not token and not other:
        login = (f"{_LOGIN} is set: a login at Anthropic's would be sent instead",) if environ.get(_LOGIN) else ()
        emptied = claude.TOKEN in environ and claude.TOKEN not in shell
        if not emptied:
            yield answers.finding("client.no-key", Status.FAIL, (f"{claude.TOKEN} is not set", *login))
    elif not token and other != facts.client_key and _API_KEY in shell:
        yield answers.finding("client.stale-key", Status.FAIL, (f"{_API_KEY} is not the stack's key",), names=_BOTH)
    elif not token and other == facts.client_key:
        yield from _as_api_key(facts, other)


def _as_api_key(facts: Facts, given: str) -> Iterator[Finding]:
    """The right key in a variable whose value goes as `x-api-key`."""
    if facts.prepared is not None and facts.prepared.plan.gateway.kind == "direct":
        shown = (f"{_API_KEY} is set, {claude.TOKEN} is not",)
        yield answers.finding("client.key-header", Status.FAIL, shown, names=_BOTH)
        return
    path = claude_settings.state_file(facts.environ)
    try:
        refused = json.loads(text_of(path) or "{}")["customApiKeyResponses"]["rejected"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    if given[-_KEPT:] in refused:
        shown = (f"{path}: customApiKeyResponses.rejected",)
        yield answers.finding("client.key-refused", Status.WARN, shown, path=path, names=_BOTH, blocks=False)


def helper(facts: Facts) -> Iterator[Finding]:
    """Where the key comes from a program of the user's, that one gives the stack's."""
    if not facts.own or not told.uses(facts) or facts.client_key is None:
        return
    path, command = claude_settings.value("apiKeyHelper", facts.environ, facts.cwd)
    if not command or told.environment(facts).get(claude.TOKEN):
        return
    missing = _missing(command, facts)
    if missing:
        why = f"cannot be run: {missing} is no program"
    elif facts.static:
        yield Finding("client.helper", Status.SKIPPED, "the apiKeyHelper is not run with --static", hop=Hop.CLIENT)
        return
    elif os.path.dirname(path) == os.path.join(facts.cwd, ".claude") != claude_settings.folder(facts.environ):
        # it came with the project, and Claude Code itself asks first whether that is trusted
        yield Finding("client.helper", Status.SKIPPED, f"the apiKeyHelper of {path} is not run", hop=Hop.CLIENT)
        return
    else:
        why = _answer(command, facts)
    if why:
        yield answers.finding("client.key-helper", Status.FAIL, (f"{path}: apiKeyHelper",), path=path, why=why)


def _missing(command: str, facts: Facts) -> str:
    """The program that a command begins with, where there is none of that name."""
    try:
        first = shlex.split(command)[0]
    except (ValueError, IndexError):
        return ""
    if "=" in first or any(each in command for each in "$`|;&<>(~"):
        return ""  # the shell's own business
    found = shutil.which(os.path.join(facts.cwd, first) if "/" in first else first, path=facts.environ.get("PATH"))
    return "" if found or first in {"echo", "printf", "cat", "test"} else first


def _answer(command: str, facts: Facts) -> str:
    """What is wrong with the key that the program prints, in words; Claude Code runs it the same way."""
    try:
        done = process.run(
            ["/bin/sh", "-c", f"exec 2>/dev/null\n{command}"], env=dict(facts.environ), cwd=facts.cwd, timeout=_PATIENCE
        )
    except process.RunTimeoutError:
        return f"gave no key within {_PATIENCE:.0f} s"
    except StackError as error:
        return f"cannot be run: {error.message}"
    if done.returncode:
        return f"ended with status {done.returncode}"
    return "" if done.output.strip() == facts.client_key else "prints another key than the stack's"


CHECKS = (
    Check("client.key", Hop.CLIENT, "The key that would be sent is the stack's.", key, ("client.address",)),
    Check("client.helper", Hop.CLIENT, "A program that gives the key gives the stack's.", helper, ("client.address",), seconds=7.0),
)  # fmt: skip
