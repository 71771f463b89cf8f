"""What a LiteLLM that somebody starts by hand reads besides its configuration."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_ASSIGNED = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w{0,80})\s*=", re.MULTILINE)
_MATTERS = re.compile(r"LITELLM_.*|.*_API_(?:KEY|BASE)|.*_BASE_URL|(?:HTTPS?|ALL|NO)_PROXY", re.IGNORECASE)


def dot_env(facts: Facts) -> Iterator[Finding]:
    """No .env file changes what LiteLLM does from one directory to the next (it reads one unless LITELLM_MODE says no)."""
    if facts.hand_file is None or facts.environ.get("LITELLM_MODE", "").upper() == "PRODUCTION":
        return
    places = dict.fromkeys((facts.cwd, os.path.dirname(os.path.abspath(facts.hand_file))))
    for path in (os.path.join(place, ".env") for place in places):
        found = [name for name in names(path) if _MATTERS.fullmatch(name)]
        if found:
            shown = ", ".join(found[:6])  # never a value
            yield answers.finding("gateway.dot-env", Status.WARN, (f"{path} sets {shown}",), blocks=False, path=path)
            return


def names(path: str) -> list[str]:
    """The variables that a .env file sets; none where there is no such file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, encoding="utf-8", errors="replace") as stream:
            return list(dict.fromkeys(_ASSIGNED.findall(stream.read(65536))))
    except OSError:
        return []


CHECKS = (
    Check("gateway.dot-env", Hop.GATEWAY, "No .env file changes what a LiteLLM started by hand does.", dot_env),
)  # fmt: skip
