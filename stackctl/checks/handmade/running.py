"""A LiteLLM that somebody runs with a hand-written file: it read the file as it is now."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from stackctl import addresses, sockets
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.lanes import LITELLM
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

NAME = "gateway.file"
_CLOSE = 2.0  # seconds: the start of a process is not known better


def current(facts: Facts) -> Iterator[Finding]:
    """The file was not changed since the LiteLLM that reads it was started; LiteLLM reads it once."""
    import psutil

    at = addresses.parts(facts.url_target or LITELLM)
    if facts.hand_file is None or at.hostname not in {"127.0.0.1", "localhost", "::1"} or at.port is None:
        return
    holder = sockets.holder(at.hostname.replace("localhost", "127.0.0.1"), at.port)
    if holder is None or holder.pid is None:
        return
    try:
        process = psutil.Process(holder.pid)
        started, words, place = process.create_time(), process.cmdline(), process.cwd()
    except psutil.Error:
        return
    changed = os.path.getmtime(facts.hand_file)
    if changed > started + _CLOSE and _names(words, place, facts.hand_file):
        shown = f"started {_clock(started)}, changed {_clock(changed)}"
        yield answers.finding("gateway.file-newer", Status.WARN, (shown,), pid=holder.pid, file=facts.hand_file)


def _names(words: Sequence[str], place: str, file: str) -> bool:
    """Whether a command line, of a process that was started in `place`, names the file."""
    for word in words[1:]:
        path = os.path.join(place, word.partition("=")[2] if word.startswith("-") else word)
        if os.path.basename(path) == os.path.basename(file) and os.path.realpath(path) == os.path.realpath(file):
            return True
    return False


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


CHECKS = (Check(NAME, Hop.GATEWAY, "LiteLLM was started after the last change of its file.", current),)
