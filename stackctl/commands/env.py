"""`stackctl env`: exports for Claude Code of the stack that runs, or of the one that the configuration describes.

Light: with a stack running nothing but `json` is imported beyond the start of Python (see tests/bench).
"""

from __future__ import annotations

import json
import os

from stackctl import files, identity, keys_file, names, output, shell
from stackctl.clients import claude
from stackctl.errors import NotRunningError
from stackctl.paths import StackPaths

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from typing import Any


class Request:
    """What was asked for on the command line."""

    __slots__ = ("config", "name")

    def __init__(self, config: str | None = None, name: str | None = None) -> None:
        self.config = config
        self.name = name


def parse(arguments: list[str]) -> Request | None:
    """The plain forms of the command line; None leaves it to the full parser (help, mistakes)."""
    request = Request()
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option not in {"-c", "--config", "--name"}:
            return None
        given = value if equals else next(rest, None)
        if given is None:
            return None
        if option == "--name":
            request.name = given
        else:
            request.config = given
    return request


def run(request: Request) -> output.Outcome:
    """Print the exports alone on stdout; notes go to stderr.

    Raises NotRunningError (exit code 4) when the stack has never been up, so that there is no key to print.
    """
    paths = StackPaths(names.stack_name(request.name, request.config, os.environ))
    key = keys_file.read(paths)
    if key is None:
        raise NotRunningError(f"the stack `{paths.name}` has never been up: there is no key yet", remedy="stackctl up")
    client = running_client(paths)
    lines: list[str] = []
    if client is None:
        client = _configured(request)
        lines.append(
            f"stackctl: the stack `{paths.name}` is not running; these are the exports of its configuration (stackctl up starts it)"
        )
    variables = claude.environment(client, key, os.environ)
    conflicts = tuple(name for name in claude.CONFLICTS if name in os.environ)
    lines += [
        f"stackctl: {name} is set as well and would be sent beside the token; it is unset here" for name in conflicts
    ]
    return output.Outcome(lines=lines, stdout=shell.exports(variables, conflicts))


def running_client(paths: StackPaths) -> dict[str, Any] | None:
    """The ClientFacts of a stack whose supervisor lives and whose first token has come through, else None."""
    try:
        state = json.loads(files.read_private(paths.state))
        supervisor = state["supervisor"]
        if state["client"] and identity.alive(
            identity.Identity(supervisor["pid"], supervisor["start_ticks"], state["boot_id"])
        ):
            return dict(state["client"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a state that cannot be read is `up`'s and `down`'s to repair
    return None


def _configured(request: Request) -> dict[str, Any]:
    """The ClientFacts that the configuration promises."""
    from dataclasses import asdict

    from stackctl import planning
    from stackctl.config import Flags

    return asdict(planning.client_facts(Flags(config=request.config, name=request.name)))
