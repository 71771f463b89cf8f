"""`stackctl env`: the environment of a client, in the words of the shell that asks.

Light: with a stack running nothing but `json` is imported beyond the start of Python (see tests/bench), and with none
running even less. It stands in shell start-up files, so without a running stack it exports nothing: the address of a
dead gateway would break the client for everything else. `--planned` (or a configuration named with `-c`, or a person who
reads it on a terminal) asks for what the configuration promises.
"""

from __future__ import annotations

import json
import os
import sys

from stackctl import clients, files, identity, keys_file, names, output, shell
from stackctl.errors import NOT_RUNNING, ConfigError, NotRunningError, StackError
from stackctl.paths import StackPaths, home

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackctl.clients.types import Client, Conflict
    from stackctl.config import Flags
    from stackctl.shell import Change

_SCHEMA = 1  # of the state file: runstate.SCHEMA, without the cost of that module
_VALUES = {
    "-c": "config", "--config": "config", "--name": "name", "--shell": "shell", "--client": "client", "--url": "url",
    "--key-file": "key_file",
}  # fmt: skip
_SWITCHES = {"--unset": "unset", "--planned": "planned", "-q": "quiet", "--quiet": "quiet"}


class Request:
    """What was asked for on the command line."""

    __slots__ = ("client", "config", "key_file", "name", "planned", "quiet", "shell", "unset", "url")

    def __init__(
        self,
        config: str | None = None,
        name: str | None = None,
        *,
        shell: str | None = None,
        client: str | None = None,
        url: str | None = None,
        key_file: str | None = None,
        unset: bool = False,
        planned: bool = False,
        quiet: bool = False,
    ) -> None:
        self.config = config
        self.name = name
        self.shell = shell
        self.client = client
        self.url = url
        self.key_file = key_file
        self.unset = unset
        self.planned = planned
        self.quiet = quiet


def parse(arguments: list[str]) -> Request | None:
    """The plain forms of the command line; None leaves it to the full parser (help, mistakes)."""
    request = Request()
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if argument in _SWITCHES:
            setattr(request, _SWITCHES[argument], True)
            continue
        if option not in _VALUES:
            return None
        given = value if equals else next(rest, None)
        if given is None:
            return None
        setattr(request, _VALUES[option], given)
    return request


def run(request: Request) -> output.Outcome:
    """Print the environment alone on stdout; notes go to stderr.

    Raises NotRunningError (exit code 4) when no stack runs or there is no key yet, ConfigError (2) for a shell, client or
    address that cannot be used.
    """
    kind = _format(request)
    _any_bytes()
    if request.unset:
        return _unset(kind)
    if (request.client or "claude") != clients.CURSOR:
        clients.get(request.client or "claude")  # a mistake in the command line is said first
    found = _facts(request)
    if found is None:
        return output.Outcome(NOT_RUNNING)
    facts, key, lines = found
    if (request.client or "claude") == clients.CURSOR:
        from stackctl.clients import cursor

        return output.Outcome(lines=cursor.explain(facts))
    client = clients.get(request.client or "claude")
    private = _private(client, request)
    environ = os.environ
    if client.adapt is not None and client.version is not None:
        facts = dict(client.adapt(facts, client.version(environ)))
    variables = client.environment(facts, key, environ, private)
    if client.files is not None:
        write_private(client.files(facts, environ, private))
    lines += _warnings(client, facts, variables)
    return output.Outcome(
        lines=() if request.quiet else [f"stackctl: {line}" for line in lines],
        stdout=_printed(kind, client, variables),
    )


def _format(request: Request) -> str:
    if request.shell is None:
        from stackctl.shell import detect

        return detect.shell()
    if request.shell not in shell.FORMATS:
        from difflib import get_close_matches

        near = get_close_matches(request.shell, shell.FORMATS, n=1)
        raise ConfigError(
            f"--shell {request.shell} is not known; it is one of {', '.join(shell.FORMATS)}",
            remedy=f"stackctl env --shell {near[0] if near else 'sh'}",
        )
    return request.shell


def _any_bytes() -> None:
    """A NO_PROXY that is not UTF-8 must come out as it went in."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")


def _unset(kind: str) -> output.Outcome:
    from stackctl.clients import proxy
    from stackctl.shell import undo

    if kind not in shell.SHELLS:
        raise ConfigError(f"--unset is for a shell, not for {kind}", remedy="stackctl env --unset")
    changes = undo.undone(os.environ, dict.fromkeys(proxy.NAMES, proxy.trimmed))
    return output.Outcome(
        lines=() if changes else ["stackctl: nothing in this shell's environment is from `stackctl env`"],
        stdout=shell.lines(kind, changes),
    )


def _facts(request: Request) -> tuple[dict[str, Any], str, list[str]] | None:
    """What a client must know, the key, and what is to be said; None for `--quiet` with nothing running."""
    if request.url is not None:
        from stackctl.clients import elsewhere

        return elsewhere.facts(request.url, request.key_file, os.environ)
    if request.key_file is not None:
        raise ConfigError("--key-file goes with --url", remedy="stackctl env --url http://BOX:4000 --key-file FILE")
    paths = StackPaths(names.stack_name(request.name, request.config, os.environ))
    key = keys_file.read(paths)
    named = "" if paths.name == names.DEFAULT_NAME else f" --name {paths.name}"
    if key is None:
        if request.quiet:
            return None
        if running_client(paths) is not None:
            raise StackError(f"the key file of the stack `{paths.name}` is gone", remedy=f"stackctl restart{named}")
        raise NotRunningError(
            f"the stack `{paths.name}` has never been up: there is no key yet", remedy=f"stackctl up{named}"
        )
    facts = running_client(paths)
    if facts is not None:
        return facts, key, []
    if not (request.planned or request.config or output.stdout_is_terminal()):
        if request.quiet:
            return None
        raise NotRunningError(
            f"the stack `{paths.name}` is not running: nothing is exported",
            remedy=f"stackctl up -d{named}   (or, for what its configuration promises: stackctl env{named} --planned)",
        )
    note = f"the stack `{paths.name}` is not running; this is what its configuration promises (stackctl up starts it)"
    from stackctl.config import Flags

    return configured(Flags(config=request.config, name=request.name)), key, [note]


def running_client(paths: StackPaths) -> dict[str, Any] | None:
    """The ClientFacts of a stack whose supervisor lives, does not end, and whose first token has come through, else None."""
    try:
        state = json.loads(files.read_private(paths.state))
        if state["schema"] != _SCHEMA:
            from stackctl import runstate

            runstate.read(paths)  # says so when another version of stackctl runs the stack
            return None
        supervisor = state["supervisor"]
        if (
            state["client"]
            and state.get("state") != "stopping"
            and identity.alive(identity.Identity(supervisor["pid"], supervisor["start_ticks"], state["boot_id"]))
        ):
            client = dict(state["client"])
            texts = all(isinstance(client[name], str) for name in ("url", "model"))
            whole = all(isinstance(client.get(name), int | None) for name in ("output_limit", "timeout", "window"))
            routes = all(
                {"name", "model", "served", "engine", "problem"} <= {*each} for each in client.get("routes", ())
            )
            return client if texts and whole and routes else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass  # a state that cannot be read is `up`'s and `down`'s to repair
    return None


def configured(flags: Flags) -> dict[str, Any]:
    """The ClientFacts that the configuration promises."""
    from dataclasses import asdict

    from stackctl import planning

    return asdict(planning.client_facts(flags))


def private_dir(paths: StackPaths) -> str:
    """Where the private files of clients stand: in the stack's temporary directory, which `down` removes."""
    from stackctl import runstate

    return os.path.join(runstate.tmp_path(paths), "clients")


def _private(client: Client, request: Request) -> str:
    """The directory for the client's private files; empty for a client without any."""
    if client.files is None:
        return ""
    if request.url is not None:
        return os.path.join(home(), "clients")
    return private_dir(StackPaths(names.stack_name(request.name, request.config, os.environ)))


def write_private(contents: Mapping[str, str]) -> None:
    """Write the private files of a client, mode 0600."""
    for path, text in contents.items():
        files.private_dir(os.path.dirname(path))
        files.write_private(path, text)


def in_the_way(client: Client, variables: Mapping[str, str]) -> list[Conflict]:
    """What stands on this machine and would make the client do something else."""
    if client.conflicts is not None:
        return client.conflicts(variables, os.environ, os.getcwd())
    from stackctl.clients import conflicts

    return conflicts.proxied(os.environ)


def _warnings(client: Client, facts: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    found = [each for each in in_the_way(client, variables) if not each.aside]
    lines = [f"{each.where} {each.what}" for each in found]
    if any(each.beats_env for each in found):
        lines.append(f"a settings file beats the shell; `stackctl launch {client.name}` beats both")
    return lines + (client.by_hand(facts) if client.by_hand is not None else [])


def _printed(kind: str, client: Client, variables: dict[str, str]) -> str:
    removed = [name for name in client.removed if name in os.environ]
    if kind in shell.SHELLS:
        from stackctl.shell import undo

        changes: list[Change] = [("unset", name, "") for name in removed]
        changes += [("set", name, value) for name, value in variables.items()]
        return shell.lines(kind, undo.recorded(changes, os.environ))
    from stackctl.shell import documents

    if kind == "dotenv":
        return documents.dotenv(variables)
    if kind == "json":
        return documents.as_json(variables, removed)
    if client.settings is None:
        raise ConfigError(
            f"--shell claude-settings is for Claude Code, not for {client.title}", remedy="stackctl env --shell json"
        )
    return documents.claude_settings(client.settings(variables))
