"""`stackctl doctor`: which part of the chain fails, why, how that is known, and what to type."""

from __future__ import annotations

import os
import textwrap
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from stackctl import output, runstate
from stackctl.checks import facts as gathered
from stackctl.checks import logs, roster, runner, verdict
from stackctl.checks.check import Hop
from stackctl.commands import doctor_request, doctor_shell
from stackctl.errors import FAILED, ConfigError, StackError
from stackctl.model import State, Status
from stackctl.output import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stackctl.checks.facts import Facts
    from stackctl.checks.runner import Ran
    from stackctl.commands.doctor_fix import Mended
    from stackctl.commands.doctor_request import Request
    from stackctl.model import Finding
    from stackctl.runstate import StackState

BUDGET = 20.0  # seconds for all checks with their requests
STATIC_BUDGET = 20.0  # a bound for a machine that is drowning; two seconds is what it takes
_WIDTH = 110  # columns of the line of what is fine
_INDENT = " " * 8
_MARKS = {Status.OK: "ok", Status.WARN: "warn", Status.FAIL: "FAIL", Status.SKIPPED: "-"}


def run(request: Request) -> Outcome:
    """Run the checks. The exit code is 0 when all is fine, 1 for a failure (or a warning with `strict`).

    Raises ConfigError (2) for what cannot be looked at.
    """
    doctor_request.check(request)
    mended: list[Mended] = []
    shell_before = dict(os.environ)
    if request.fix:
        from stackctl.commands import doctor_fix

        def look(static: bool) -> tuple[Facts, tuple[Ran, ...]]:
            nonlocal request
            facts, ran = examine(replace(request, static=static))
            request = replace(request, flags=facts.flags)  # what a repair stops is looked at as it was started
            return facts, ran

        mended = doctor_fix.mend(look, request)
    facts, ran = examine(request)
    findings = [finding for each in ran for finding in each.findings]
    seconds = time.monotonic() - facts.began
    bad = {Status.FAIL, Status.WARN} if request.strict else {Status.FAIL}
    code = FAILED if any(each.status in bad for each in findings) else 0
    said = verdict.sentence(findings, facts)
    lines = [*_lines(ran, verbose=request.verbose), f"verdict: {said}"]
    if request.report is not None:
        _write_report(request.report, facts, findings, said)
        lines.append(f"report: {request.report} (without keys, prompts and code; look at it before you send it)")
    return Outcome(
        code,
        lines=lines,
        stdout=doctor_shell.printed(request.shell, shell_before) if request.shell is not None else "",
        data={
            "verdict": said,
            "findings": [_as_data(each) for each in findings],
            "seconds": round(seconds, 3),
            **({"repairs": [asdict(each) for each in mended]} if request.fix else {}),
        },
    )


def _write_report(path: str, facts: Facts, findings: Sequence[Finding], said: str) -> None:
    from stackctl import files
    from stackctl.checks import bundle

    try:
        if not files.create_private(path, bundle.text(facts, findings, said)):
            raise ConfigError(f"--report {path} is there already", remedy="name a file that is not there yet")
    except OSError as error:
        raise ConfigError(f"--report {path} cannot be written: {error.strerror}", remedy="correct the path") from error


def examine(request: Request) -> tuple[Facts, tuple[Ran, ...]]:
    """What is there now, and what the checks say of it; once more, where a stack was stopped or restarted meanwhile."""
    facts, ran = _look(request)
    if any(each.failed for each in ran) and _moved_on(facts):
        facts, ran = _look(request)
    return facts, ran


def _moved_on(facts: Facts) -> bool:
    """Whether the stack runs otherwise than it did when the looking began."""
    if not facts.own or not facts.running or facts.state is None or facts.paths is None:
        return False
    try:
        now = runstate.peek(facts.paths)
    except StackError:
        return False
    before = facts.state
    return now is None or now.supervisor != before.supervisor or now.state is State.STOPPING or _services(now) != _services(before)  # fmt: skip


def _services(state: StackState) -> list[tuple[str, State, int | None]]:
    return [(each.name, each.state, each.pid) for each in state.services]


def _look(request: Request) -> tuple[Facts, tuple[Ran, ...]]:
    facts = _facts(request)
    return facts, runner.run_all(roster.checks(facts), facts, budget=STATIC_BUDGET if facts.static else BUDGET)


def explain(asked: str) -> Outcome:
    """Tell of a finding by its id, or of what a message means. Raises ConfigError (2) for neither."""
    from stackctl.checks import manual

    topic = manual.find(asked)
    data = {
        name: getattr(topic, name)
        for name in ("id", "hop", "symptom", "cause", "remedy", "fix", "line", "source", "anchor")
    }
    return Outcome(lines=manual.explain(topic), data=data)


def _facts(request: Request) -> Facts:
    config = request.flags.config
    hand = config if config and doctor_request.is_litellm(config) else None
    given = logs.given(request.logs)
    facts = gathered.gather(
        request.flags,
        url=request.url,
        litellm_config=hand,
        key=doctor_request.key(request.key_file),
        environ=os.environ,
        static=request.static,
    )
    return replace(facts, logs={**facts.logs, **given})


def _lines(ran: Sequence[Ran], *, verbose: bool) -> list[str]:
    """The report for people, hop by hop: what is fine on one line, what is not with all that is known of it."""
    lines: list[str] = []
    for hop in Hop:
        here = [*(_proofs(ran, hop) if verbose else _fine(ran, hop)), *_said(ran, hop)]
        if here:
            lines += [str(hop), *here, ""]
    return lines


def _is_fine(ran: Ran) -> bool:
    return all(finding.status is Status.OK for finding in ran.findings)


def _fine(ran: Sequence[Ran], hop: Hop) -> list[str]:
    """One line for all that is fine."""
    words = _words([each.check.id for each in ran if each.check.hop is hop and _is_fine(each)])
    return textwrap.wrap(
        words, output.columns(_WIDTH), initial_indent="  ok    ", subsequent_indent=_INDENT, break_on_hyphens=False
    )


def _proofs(ran: Sequence[Ran], hop: Hop) -> Iterator[str]:
    """What each check proves, and how long it took."""
    for each in ran:
        if each.check.hop is hop:
            worst = "ok" if _is_fine(each) else ""
            yield f"  {worst:<6}{each.check.id}: {each.check.proves} ({each.seconds:.2f} s)"


def _said(ran: Sequence[Ran], hop: Hop) -> Iterator[str]:
    """What is not fine; a check that was left out because of another is not worth a line."""
    for each in ran:
        for finding in each.findings:
            if finding.hop == hop and finding.status is not Status.OK and not finding.cause.startswith("needs "):
                yield from _shown(finding)


def _words(names: Sequence[str]) -> str:
    """`tools@engine:main` and `engine.process` as `tools, process`; a probe of several lanes once."""
    return ", ".join(dict.fromkeys(each.partition("@")[0].rpartition(".")[2] for each in names))


def _shown(finding: Finding) -> Iterator[str]:
    yield f"  {_MARKS[finding.status]:<6}{finding.id}{f': {finding.cause}' if finding.cause else ''}"
    if finding.bad:
        yield from (f"{_INDENT}| {line}" for line in finding.evidence)
        if finding.remedy:
            yield f"{_INDENT}try: {finding.remedy}"
        if finding.docs:
            yield f"{_INDENT}see: docs/TROUBLESHOOTING.md#{finding.docs}"


def _as_data(each: Finding) -> dict[str, Any]:
    return {
        "id": each.id,
        "status": each.status,
        "hop": each.hop,
        "cause": each.cause,
        "evidence": list(each.evidence),
        "remedy": each.remedy,
        "docs": each.docs,
        "fix": each.fix,
    }
