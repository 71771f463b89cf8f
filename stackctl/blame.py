"""When everything is up and no token comes through: what `stackctl doctor` says of it, asked while it is still up.

Light: the supervisor loads it. Doctor is a process of its own, so that the supervisor goes on and stays small.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from stackctl import process
from stackctl.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENGINE = re.compile(r"the engine `[^`]+`")
_SECONDS = 40.0  # doctor's own bound is 20; a busy machine takes its time to load it


def explained(error: StackError, name: str, config: str | None) -> StackError:
    """`error` with the culprit that doctor finds in the stack `name`; as it is when it finds none."""
    options = ["--name", name, *(["-c", config] if config is not None else [])]
    found = culprit(_findings([sys.executable, "-P", "-m", "stackctl", "doctor", "--json", *options]), error.message)
    if found is None:
        return error
    proof = (f"doctor: {found['cause']}", *map(str, found["evidence"]), f"see: docs/TROUBLESHOOTING.md#{found['docs']}")
    return StackError(error.message, remedy=str(found["remedy"]) or error.remedy, evidence=(*error.evidence, *proof))


def culprit(findings: Sequence[dict[str, Any]], message: str) -> dict[str, Any] | None:
    """The first failure on the way to the engine: the client's side is not what a proof from here hangs on.

    Where `message` names the engine that gives no token, what is wrong with another one does not explain it.
    """
    blamed = [each for each in findings if each["status"] == "fail" and each["hop"] != "client"]
    silent = _ENGINE.search(message)
    if silent is not None:
        of_it = [each for each in blamed if silent[0] in each["cause"]]
        blamed = of_it or [each for each in blamed if not _ENGINE.search(each["cause"])]
    return next(iter(blamed), None)


def _findings(argv: Sequence[str]) -> list[dict[str, Any]]:
    try:
        said = process.run(argv, env=dict(os.environ), timeout=_SECONDS).output
        found = json.loads(said[said.index("{") : said.rindex("}") + 1])["data"]["findings"]
        return [each for each in found if {"status", "hop", "cause", "evidence", "remedy", "docs"} <= each.keys()]
    except (StackError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
