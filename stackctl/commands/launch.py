"""`stackctl launch CLIENT`: the stack, if it is not up yet, and then the client on it.

The steps, each from the one before: the client's program -> the stack's facts -> environment, private files and command
line -> what is in the way, said -> exec.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stackctl import clients, keys_file, names, output, process
from stackctl.clients import conflicts
from stackctl.commands import env
from stackctl.errors import ConfigError, NotRunningError, PreflightError, StackError
from stackctl.output import Outcome
from stackctl.paths import StackPaths
from stackctl.shell import undo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stackctl.clients.types import Client
    from stackctl.config import Flags

_VERSION_SECONDS = 8.0  # a client answers --version in 0.1 to 1.2 s; a cold disk takes longer


def run(name: str, arguments: Sequence[str], flags: Flags, *, down_after: bool, dry_run: bool, yes: bool) -> Outcome:
    """Become the client; with `down_after` stay as its parent, and stop the stack at its end.

    Raises ConfigError (exit code 2) for an unknown client, PreflightError (3) for one that is not there, too old or broken,
    and whatever `up` raises when the stack does not start: then no client runs.
    """
    if name == clients.CURSOR:
        raise ConfigError(
            "Cursor has no command that could be pointed at a gateway", remedy="stackctl env --client cursor"
        )
    client = clients.get(name)
    paths = StackPaths(names.stack_name(flags.name, flags.config, os.environ))
    program = _program(client)
    version = _version(client, program)
    notes = [
        f"{client.title} {_dotted(version)} {what}" for since, what in client.limits if version and version < since
    ]
    facts, key = _stack(paths, flags, yes=yes, dry_run=dry_run)
    if client.adapt is not None:
        facts = client.adapt(facts, version)
    private = env.private_dir(paths)
    variables = client.environment(facts, key, os.environ, private)
    start = client.start(facts, variables, arguments, private)
    contents = {**(client.files(facts, os.environ, private) if client.files else {}), **start.files}
    notes += [*start.notes, *_in_the_way(client, variables)]
    if dry_run:
        return Outcome(
            lines=[f"stackctl: {note}" for note in notes],
            stdout=_shown([program, *start.argv], variables, _removed(client), contents, key),
        )
    for note in notes:
        output.note(f"stackctl: {note}")
    env.write_private(contents)
    whole = {each: value for each, value in os.environ.items() if _inherited(client, each)} | variables
    if not down_after:
        process.become([program, *start.argv], whole)
    return _attended([program, *start.argv], whole, paths)


def _attended(argv: Sequence[str], whole: Mapping[str, str], paths: StackPaths) -> Outcome:
    try:
        code = process.attend(argv, whole)
    finally:
        from stackctl.commands import down

        with contextlib.suppress(NotRunningError):  # someone else has stopped it
            for line in down.run(paths.name, None).lines:
                output.note(line)
    return Outcome(code)


# --- the program


def _program(client: Client) -> str:
    found = shutil.which(client.program)
    if found is None:
        raise PreflightError(
            f"{client.title} is not installed: there is no `{client.program}` on PATH",
            remedy=f"{client.install}   (its makers' command; stackctl does not run it)",
        )
    if conflicts.wsl_program(found, os.environ):
        raise PreflightError(
            f"{found} is {client.title} of the Windows side, which sees neither this side's 127.0.0.1 nor its files",
            remedy=f"install it in this WSL distribution: {client.install}",
        )
    return os.path.abspath(found)


def _version(client: Client, program: str) -> tuple[int, ...] | None:
    """The installed version; None for one that does not say it in time: it may look for updates first, or wait for a lock.

    Raises PreflightError when it is too old, or broken.
    """
    try:
        done = process.run([program, "--version"], timeout=_VERSION_SECONDS)
    except process.RunTimeoutError:
        known = client.version(os.environ) if client.version is not None else None
        whose = f"; by its files it is {_dotted(known)}" if known else ""
        output.warn(f"`{client.program} --version` did not answer within {_VERSION_SECONDS:g} s: not checked{whose}")
        return known
    except StackError as error:
        raise _broken(client, program, error.message, error.evidence) from error
    numbers = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", done.output)
    if done.returncode != 0 or numbers is None:
        why = f"`{client.program} --version` ended with exit code {done.returncode}"
        raise _broken(client, program, why, tuple(done.output.splitlines()[-10:]))
    version = tuple(int(each) for each in numbers.groups(default="0"))
    if version < client.oldest:
        raise PreflightError(
            f"{client.title} {_dotted(version)} is too old; {_dotted(client.oldest)} is the first that works here",
            remedy=client.install + "@latest",
        )
    return version


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _broken(client: Client, program: str, why: str, evidence: tuple[str, ...]) -> PreflightError:
    return PreflightError(f"{client.title} at {program} is broken: {why}", remedy=client.install, evidence=evidence)


# --- the stack


def _stack(paths: StackPaths, flags: Flags, *, yes: bool, dry_run: bool) -> tuple[Mapping[str, Any], str | None]:
    """The facts and the key of a stack that runs; it is started if need be. A dry run takes what is planned."""
    facts = env.running_client(paths)
    other = flags.model is not None or flags.gateway is not None
    if facts is None or other:
        facts = env.configured(flags) if dry_run else _started(paths, flags, yes=yes, other=other)
    key = keys_file.read(paths)
    if key is None and not dry_run:
        raise StackError(
            f"the client key {paths.client_key} has gone while the stack runs", remedy="stackctl down, then up"
        )
    return facts, key


def _started(paths: StackPaths, flags: Flags, *, yes: bool, other: bool) -> dict[str, Any]:
    from stackctl import planning, runstate
    from stackctl.commands import up

    state = runstate.settled(paths)
    if state is None:
        # unlike `up`, whoever typed this asked for a client: without a terminal a model is not loaded unasked
        named = "" if paths.name == names.DEFAULT_NAME else f" --name {paths.name}"
        if not yes and not output.has_terminal():
            remedy = f"stackctl up -d{named}   (or launch with --yes, which starts it)"
            raise NotRunningError(
                f"the stack `{paths.name}` is not running, and there is no terminal to ask on", remedy=remedy
            )
        if not output.ask(f"The stack `{paths.name}` is not running. Start it?", assume=yes):
            raise NotRunningError(f"the stack `{paths.name}` is not running", remedy=f"stackctl up -d{named}")
        return asdict(up.start_detached(flags, yes=yes))
    if other and state.plan_digest != planning.prepare(flags).plan.digest:
        raise StackError(
            f"the stack `{paths.name}` already runs, with another plan than this one",
            remedy="leave --model and --gateway out, or: stackctl down, then launch again; or give this one a --name",
        )
    if state.client is None:
        output.note(f"stackctl: the stack `{paths.name}` is being started; waiting for it")
    client = runstate.await_ready(paths, up.START_SECONDS)
    if client is None:
        raise StackError(f"the stack `{paths.name}` was being started, and failed or was stopped", remedy="stackctl up")
    return asdict(client)


# --- what is said


def _in_the_way(client: Client, variables: Mapping[str, str]) -> list[str]:
    """What stands on this machine and is overridden, or cannot be."""
    wins = {
        (True, True): "; this wins: only an administrator can change it",
        (True, False): "; the stack's value wins here",
    }
    found = env.in_the_way(client, variables)
    return [f"{each.where} {each.what}{wins.get((each.beats_env, each.beats_launch), '')}" for each in found]


def _inherited(client: Client, name: str) -> bool:
    """What `env` keeps for its own undoing may be a key of the user's: no agent's tools need to see that."""
    return name not in client.removed and name != undo.SET and not name.startswith(undo.SAVED)


def _removed(client: Client) -> list[str]:
    return [each for each in client.removed if each in os.environ]


def _shown(
    argv: Sequence[str],
    variables: Mapping[str, str],
    removed: Sequence[str],
    contents: Mapping[str, str],
    key: str | None,
) -> str:
    """What would be run, as lines for a shell; the key's place is shown, not the key."""
    from stackctl.shell import posix

    def safe(text: str) -> str:
        return text if key is None else text.replace(key, "<the client key>")

    lines = [f"unset {each}" for each in removed]
    lines += [f"export {name}={posix.quote(safe(value))}" for name, value in variables.items()]
    for path, text in contents.items():
        lines += [f"# {path} (0600):", *(f"#   {line}" for line in safe(text).splitlines())]
    lines.append(" ".join(posix.quote(safe(word)) for word in argv))
    return "".join(f"{line}\n" for line in lines)
