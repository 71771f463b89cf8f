"""Repairs of the variables of the shell that asks: what it would have to set or to unset.

Nothing here changes that shell, which no child can: `doctor --fix --shell` prints what it is to evaluate.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from stackctl import addresses, paths, shell
from stackctl.clients import claude, claude_names, proxy
from stackctl.repair.change import Change

if TYPE_CHECKING:
    from stackctl.repair.context import Here, Verb

_URL = "ANTHROPIC_BASE_URL"
_HEADERS = "ANTHROPIC_CUSTOM_HEADERS"
_CONFIG = "STACKCTL_CONFIG"
_ALIKE = 0.8  # of difflib's ratio: a letter or two in a name
_QUOTES = "\"'`"


def stacks(here: Here, names: str) -> Change | None:
    """`shell.stack 'NAME...'`: these as the stack that runs wants them, and nothing where none runs.

    What a stack never sets is taken away.
    """
    facts = here.facts
    if not facts.own or facts.client is None:
        return None
    client = claude.for_installed(asdict(facts.client), facts.environ)
    wanted = claude.environment(client, facts.client_key, facts.environ)
    if claude.TOKEN in names.split() and claude.TOKEN not in wanted:
        return None  # its key file is gone, which is another finding
    return _change(here, {name: wanted.get(name) for name in names.split()})


def put(here: Here, name: str, value: str) -> Change | None:
    """`shell.set NAME VALUE`."""
    return _change(here, {name: value})


def base(here: Here) -> Change | None:
    """`shell.base`: the address without the /v1 that Claude Code adds itself. It may hold a password: no finding names it."""
    url = here.facts.environ.get(_URL, "").rstrip("/")
    made = url.removesuffix("/messages").removesuffix("/v1")
    return _change(here, {_URL: made}) if made != url else stacks(here, _URL)  # it has some other path


def take(here: Here, names: str) -> Change | None:
    """`shell.unset 'NAME...'`."""
    return _change(here, dict.fromkeys(names.split()))


def through(here: Here) -> Change | None:
    """`shell.proxy`: loopback, and where the shell's address leads, are excepted; what was excepted stays so."""
    host = addresses.parts(here.facts.environ.get(_URL, "")).hostname or ""
    without = proxy.merged(here.facts.environ, "" if host in proxy.LOOPBACK else host)
    return _change(here, dict.fromkeys(proxy.NAMES, without))


def clean(here: Here, name: str) -> Change | None:
    """`shell.clean NAME`: the same value without what does not belong to it; None where that is not all."""
    value = here.facts.environ.get(name, "")
    if name == _HEADERS:
        lines = [
            line
            for line in value.splitlines()
            if line.partition(":")[0].strip().lower() not in claude_names.KEY_HEADERS
        ]
        left = [line for line in lines if line.strip()]
        return _change(here, {name: "\n".join(left) or None})  # several are no line of a shell: that raises
    made = value.strip()
    if len(made) > 1 and made[0] == made[-1] and made[0] in _QUOTES:
        made = made[1:-1].strip()
    if name in proxy.PROXIES and made and "://" not in made:
        made = f"http://{made}"
    if name in {claude.TOKEN, "ANTHROPIC_API_KEY"} and made.lower().startswith("bearer "):
        made = made[len("bearer ") :].strip()
    return _change(here, {name: made}) if made else None


def configuration(here: Here) -> Change | None:
    """`shell.config`: where $STACKCTL_CONFIG names a directory, the stack.yaml in it; where it names nothing, the only file
    beside it that is called nearly the same.
    """
    path = here.facts.environ.get(_CONFIG, "")
    if here.facts.flags.config or not path or os.path.isfile(path):
        return None
    if os.path.isdir(path):
        found = [os.path.join(path, paths.LOCAL_FILE)]
    else:
        above, name = os.path.split(os.path.abspath(path))
        beside = [each.name for each in os.scandir(above) if each.name.endswith((".yaml", ".yml"))]
        found = [os.path.join(above, each) for each in difflib.get_close_matches(name, beside, cutoff=_ALIKE)]
    one = len(found) == 1 and os.path.isfile(found[0])
    return _change(here, {_CONFIG: found[0]}) if one else None


def _change(here: Here, wanted: dict[str, str | None]) -> Change | None:
    """The change to these values (None: unset) of those that are not so yet. Raises StackError for one that no shell holds."""
    environ = here.facts.environ
    differ = {name: value for name, value in wanted.items() if environ.get(name) != value}
    variables = tuple(("unset", name, "") if value is None else ("set", name, value) for name, value in differ.items())
    shell.check(variables)
    return Change(f"{', '.join(differ)} of this shell", variables=variables) if variables else None


VERBS: dict[str, Verb] = {
    "shell.stack": stacks,
    "shell.set": put,
    "shell.base": base,
    "shell.unset": take,
    "shell.proxy": through,
    "shell.clean": clean,
    "shell.config": configuration,
}
