"""A LiteLLM that somebody runs with a hand-written file: it read the file as it is now."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from stackctl.checks import answers, litellm_process
from stackctl.checks.check import Check, Hop
from stackctl.checks.lanes import litellm
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

NAME = "gateway.file"
_CLOSE = 2.0  # seconds: the start of a process is not known better


def current(facts: Facts) -> Iterator[Finding]:
    """The file was not changed since the LiteLLM that reads it was started; LiteLLM reads it once."""
    if facts.hand_file is None:
        return
    url = litellm(facts)
    meant = facts.url_target is not None or not facts.static  # else just the file is asked for, and 4000 is a guess
    other = litellm_process.other_file(url, facts.hand_file) if meant else ""
    if other:
        said = f"started with {other}"
        yield answers.finding("gateway.other-file", Status.WARN, (said,), url=url, other=other, file=facts.hand_file)
    found = process(facts)
    if found is None:
        return
    changed = os.path.getmtime(facts.hand_file)
    if changed > found.started + _CLOSE:
        shown = f"started {_clock(found.started)}, changed {_clock(changed)}"
        yield answers.finding("gateway.file-newer", Status.WARN, (shown,), pid=found.pid, file=facts.hand_file)


def process(facts: Facts) -> litellm_process.Running | None:
    """The LiteLLM on this machine that reads the file."""
    return litellm_process.reading(litellm(facts), facts.hand_file) if facts.hand_file else None


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


CHECKS = (Check(NAME, Hop.GATEWAY, "LiteLLM was started after the last change of its file.", current),)
