"""What the services' own logs say: why a start failed, past vLLM's wrapper, and what a running service warns of."""

from __future__ import annotations

import errno
import functools
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from stackctl import logtext
from stackctl.catalog import running, symptoms
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.errors import ConfigError
from stackctl.model import Finding, ServiceKind, State, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stackctl.checks.facts import Facts
    from stackctl.runstate import ServiceRecord

_READ_ON = "read the lines above it in that log; what it speaks of stands in the command line, or in the model's files"
_WELL = frozenset({State.READY, State.STOPPED, State.STOPPING})


def name_of(row: str) -> str:
    """The id of the finding that a row of symptoms/*.yaml or running.yaml becomes."""
    return f"log.{row.replace('_', '-')}"


def found(
    row: str, hop: Hop, status: Status, cause: str, evidence: Sequence[str], remedy: str, *, fix: str = "",
    blocks: bool = False, service: str = "",
) -> Finding:  # fmt: skip
    """What a row means, as a finding."""
    name, where = name_of(row), answers.anchor(name_of(row))
    return Finding(name, status, cause, tuple(evidence), remedy, hop, where, fix, blocks, service=service)


def given(files: Iterable[str]) -> dict[str, str]:
    """The ends of log files that somebody names (`--log`), by path. Raises ConfigError (2) for one that cannot be read."""
    found = {}
    for path in map(os.path.abspath, files):
        try:
            if not os.path.exists(path):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            found[path] = logtext.tail(os.path.realpath(path))
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"--log {path} cannot be read: {reason}", remedy="name a log file of vLLM or LiteLLM") from error  # fmt: skip
        if kind_of(path, found[path]) is None:
            raise ConfigError(f"--log {path} is neither vLLM's nor LiteLLM's", remedy="name a log file of vLLM or LiteLLM")  # fmt: skip
    return found


def is_service(name: str) -> bool:
    """Whether a log is that of a service of ours, and not a file that somebody named."""
    return os.sep not in name and "." not in name


def kind_of(name: str, text: str) -> ServiceKind | None:
    """What kind of service a log is of: ours by its name (several engines have their own), a file's by what it says."""
    if is_service(name):
        return {"gateway": ServiceKind.GATEWAY, "supervisor": None}.get(name, ServiceKind.ENGINE)
    if re.search(r"\bLiteLLM\b|\blitellm[. ]", text):
        return ServiceKind.GATEWAY
    return ServiceKind.ENGINE if re.search(r"\bvLLM\b|\bvllm\b|EngineCore|APIServer pid=", text) else None


def service(kind: ServiceKind, facts: Facts) -> Iterator[Finding]:
    """The log of each service of a kind: the true cause where it failed, else what it warns of."""
    for name, text in facts.logs.items():
        if kind_of(name, text) is kind:
            yield from _one(kind, name, text, facts)


def _one(kind: ServiceKind, name: str, text: str, facts: Facts) -> Iterator[Finding]:
    hop = Hop.ENGINE if kind is ServiceKind.ENGINE else Hop.GATEWAY
    one = name == "engine" or not is_service(name)
    engine = name if not one else facts.prepared.plan.engine.name if facts.prepared is not None else "NAME"
    record = next((each for each in facts.state.services if each.name == name), None) if facts.state else None
    by_hand = not is_service(name)
    service = "" if by_hand else name
    cause = symptoms.diagnose(kind, text, engine=engine) if by_hand or _failed(record, facts) else None
    if cause is not None:
        line = (facts.clean(cause.line),)
        when = "" if facts.running or by_hand else "the last start failed: "
        yield found(
            cause.id,
            hop,
            Status.FAIL,
            f"{when}{cause.sentence}",
            line,
            cause.remedy,
            fix="" if by_hand else cause.fix if facts.running else f"{cause.fix} || start-again",
            blocks=True,
            service=service,
        )
    elif (failed := _said_to_fail(name, facts)) is not None:
        last = _last_words(kind, text)
        shown = (facts.clean(last),) if last else ()
        told = answers.finding(f"{hop}.crashed", Status.FAIL, shown, service=name, detail="")
        yield replace(told, cause=f"the last start failed: {facts.clean(failed)}")
    elif (record is not None and record.state is State.FAILED) or _ended_early(
        kind, text, record, facts, by_hand=by_hand
    ):
        last = _last_words(kind, text)
        detail = (
            last if by_hand else record.detail if record is not None else "the last start ended before it was ready"
        )
        told = answers.finding(
            f"{hop}.crashed",
            Status.FAIL,
            (facts.clean(last),),
            service=name,
            detail=facts.clean(detail[:300]),
        )
        yield replace(told, remedy=_READ_ON, fix="") if by_hand else told
    elif kind is ServiceKind.ENGINE and _ended_later(name, text, facts):
        last = _last_words(kind, text)
        yield answers.finding(
            "engine.ended", Status.WARN, (facts.clean(last),) if last else (), blocks=False, service=name
        )
    elif by_hand or (kind is ServiceKind.ENGINE and facts.running):  # our own gateway keeps a record (storms.py)
        for each in running.noticed(kind.value, text, engine=engine):
            times = "" if each.count == 1 else f" (seen {each.count} times)"
            line = (facts.clean(each.line),)
            yield found(each.id, hop, Status.WARN, f"{each.cause}{times}", line, each.remedy, service=service)


def _said_to_fail(name: str, facts: Facts) -> str | None:
    """Why a service of a stack that is down now failed when it was started, as `up` said it."""
    failed = facts.failed if not facts.running else None
    return f"the {name} failed: {failed.reason}" if failed is not None and failed.service == name else None


def _failed(record: ServiceRecord | None, facts: Facts) -> bool:
    """Whether a service is in trouble. Of a stack that does not run, its last log says whether it was."""
    if not facts.running:
        return record is None or record.state not in {State.STOPPED, State.STOPPING}
    return record is not None and record.state not in _WELL


def _ended_early(kind: ServiceKind, text: str, record: ServiceRecord | None, facts: Facts, *, by_hand: bool) -> bool:
    """Whether the last run of a service of ours ended while it started, and was not told to; a file of somebody's, in which
    nothing is known of what came of it, has the exception that ended it in its last lines.
    """
    if not by_hand and (facts.running or not _failed(record, facts)):
        return False
    run = symptoms.last_run(kind, logtext.clean(text))
    if symptoms.ready(kind, run):
        return False
    if by_hand:
        return len(text) < logtext.TAIL and symptoms.ends_in_error(run)
    return any(symptoms.phase(kind, line) for line in run.splitlines()[:200]) and not symptoms.stopped(kind, run)


def _recorded(facts: Facts) -> bool:
    """Whether there is a record of what runs, if only one that cannot be read: then nobody knows that it ended."""
    return facts.state is not None or facts.state_error is not None


def _ended_later(name: str, text: str, facts: Facts) -> bool:
    """Whether the last run of an engine of ours ended by itself after it was ready, where nothing runs or is recorded any
    more. One that the machine took with it when it went down is no failure.
    """
    if not is_service(name) or facts.running or _recorded(facts) or facts.paths is None:
        return False
    run = symptoms.last_run(ServiceKind.ENGINE, logtext.clean(text))
    if not symptoms.ready(ServiceKind.ENGINE, run) or symptoms.stopped(ServiceKind.ENGINE, run):
        return False
    import psutil

    try:
        return os.path.getmtime(facts.paths.log(name)) > psutil.boot_time()
    except (OSError, RuntimeError):
        return False


_ASKED = re.compile(r"INFO: +\S+ - \"[A-Z]+ /")  # a line for a request: what comes last, and says nothing of an end


def _last_words(kind: ServiceKind, text: str) -> str:
    """The last exception of the last run in a log, else its last line."""
    text = symptoms.last_run(kind, logtext.clean(text))
    lines = (line for line in reversed(text.splitlines()) if line.strip() and not _ASKED.match(line))
    return (symptoms.last_error(text) or next(lines, ""))[:300]


def moved(facts: Facts) -> Iterator[Finding]:
    """LiteLLM listens on the port that it was given; with a taken one it takes another without a word."""
    text = facts.logs.get("gateway")
    record = next((each for each in facts.state.services if each.kind is ServiceKind.GATEWAY), None) if facts.state else None  # fmt: skip
    listening = symptoms.listening_on(text) if text else None
    if record is not None and facts.running and listening is not None and listening[1] != record.port:
        yield answers.finding("gateway.moved", Status.FAIL, port=record.port, other=listening[1])


CHECKS = (
    Check(
        "engine.log", Hop.ENGINE, "The engine's log names no cause of a failure, and nothing that slows or breaks agents.",
        functools.partial(service, ServiceKind.ENGINE),
    ),
    Check(
        "gateway.log", Hop.GATEWAY, "The gateway's log names no cause of a failure.",
        functools.partial(service, ServiceKind.GATEWAY),
    ),
    Check("gateway.moved", Hop.GATEWAY, "The gateway listens on the port that it was given.", moved),
)  # fmt: skip
