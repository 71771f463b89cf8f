"""`doctor --report`: what a bug report needs and nothing that is nobody's business: no key, no prompt, no code.

Of a log only lines of its server's own are kept (what a program wrote between them may be anything), without what stands in
quotes at length, and none that speaks of a request's content.
"""

from __future__ import annotations

import json
import platform
import re
from typing import TYPE_CHECKING, Any

import yaml

from stackctl import __version__, redact
from stackctl.clients import claude_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_TAIL = 60  # lines of each log
_LONGEST = 300  # characters of a line
_SECRET = re.compile(r"key|token|secret|password|authorization|cookie", re.IGNORECASE)
_VARIABLES = ("ANTHROPIC_", "CLAUDE", "API_", "STACKCTL_", "NO_PROXY", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "HF_", "CUDA_", "VLLM_")  # fmt: skip
# A line that a server itself writes: with a level, of a traceback (the place, not the source), or an exception's name.
_OWN = re.compile(
    r"^(?:\([^()]{1,60}\) )?(?:(?:INFO|WARNING|ERROR|CRITICAL|DEBUG)\b|\d\d:\d\d:\d\d - |Traceback |  File \"|[\w.]{1,120}(?:Error|Exception)\b)"
)
_CONTENT = re.compile(
    r"prompt(?! throughput)|messages['\"]|\bcontent\b|\brole\b|input_value|\bbody\b|\bpayload\b|\barguments\b|Received request|curl ",
    re.IGNORECASE,
)
_HEAD = re.compile(r"(?:\([^()]{1,60}\) )?[A-Z]{4,8} [\d-]{1,10} [\d:]{1,8} \[[^\]\s]{1,80}\] ")
_QUOTED = re.compile(r"'[^']{40,}'|\"[^\"]{40,}\"|`[^`]{40,}`|\{.{40,}\}")


def text(facts: Facts, findings: Sequence[Finding], said: str) -> str:
    """The report, in Markdown."""
    lines = ["# stackctl doctor --report", "", f"verdict: {_safe(facts, said)}", ""]
    for title, part in (
        ("Versions", _versions(facts)),
        ("Findings", _findings(facts, findings)),
        ("Services", _services(facts)),
        ("Configuration", _configuration(facts)),
        ("This shell", _shell(facts)),
        *((f"The end of {name}.log", _log(facts, log)) for name, log in sorted(facts.logs.items())),
    ):
        lines += [f"## {title}", "", "```", *(_safe(facts, line) for line in part), "```", ""]
    return "\n".join(lines)


def _safe(facts: Facts, line: str) -> str:
    """Without secrets, and without the name of the user's home directory."""
    cleaned = facts.clean(line)[:_LONGEST]
    return cleaned.replace(facts.home, "~") if len(facts.home) > 1 else cleaned


def _versions(facts: Facts) -> Iterator[str]:
    yield f"stackctl {__version__}, Python {platform.python_version()}, {platform.platform()}"
    if facts.host is not None:
        yield facts.host.summary()
        drivers = sorted({each.driver for each in facts.host.gpus})
        if drivers:
            yield f"NVIDIA driver {', '.join(drivers)}"
    if facts.prepared is not None:
        tools = [*(each.toolchain for each in facts.prepared.plan.engines), facts.prepared.plan.gateway.toolchain]
        for tool in dict.fromkeys(each for each in tools if each is not None):
            yield f"{tool.package} {tool.version} ({tool.source}{'' if tool.installed else ', not installed'})"
    version = claude_version.installed(facts.environ)
    if version is not None:
        yield f"Claude Code {'.'.join(map(str, version))}"


def _findings(facts: Facts, findings: Sequence[Finding]) -> Iterator[str]:
    for each in findings:
        yield f"{each.status:<8}{each.hop:<14}{each.id}{': ' + each.cause if each.cause else ''}"
        yield from (f"        | {_without_content(line)}" for line in each.evidence)
    if facts.load_error is not None:
        yield f"configuration: {facts.load_error.message}"


def _services(facts: Facts) -> Iterator[str]:
    state = facts.state
    if state is None:
        return
    yield f"stack {state.name}: {state.state}, {'running' if facts.running else 'no supervisor'}, plan {state.plan_digest}"
    for each in state.services:
        yield f"{each.name}: {each.state}, port {each.port}, {each.restarts} restarts, {each.model} {each.detail}".rstrip()


def _configuration(facts: Facts) -> Iterator[str]:
    if facts.hand_config is not None:
        yield from yaml.safe_dump(_masked(dict(facts.hand_config)), sort_keys=False).splitlines()
    elif facts.loaded is not None:
        import msgspec

        yield from yaml.safe_dump(_masked(msgspec.to_builtins(facts.loaded.config)), sort_keys=False).splitlines()
    if facts.prepared is not None:
        yield from (f"# {fact.name}: {fact.value} ({fact.origin} {fact.detail})" for fact in facts.prepared.plan.facts)


def _masked(value: Any, name: str = "") -> Any:
    """The value without what is named as a secret is; references to the environment stay."""
    if isinstance(value, dict):
        return {key: _masked(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, name) for each in value]
    reference = isinstance(value, str) and value.startswith(("os.environ/", "env/"))
    return redact.HIDDEN if isinstance(value, str) and _SECRET.search(name) and not reference else value


def _shell(facts: Facts) -> Iterator[str]:
    """The variables that matter; of those that may be secrets only that they are set."""
    for name, value in sorted(facts.environ.items()):
        if name.startswith(_VARIABLES):
            shown = "(set)" if _SECRET.search(name.replace("TOKENS", "")) or "HEADERS" in name else json.dumps(value)
            yield f"{name}={shown}"


def _log(facts: Facts, log: str) -> Iterator[str]:
    own = [line for line in map(facts.clean, log.splitlines()) if _OWN.match(line)]
    yield from map(_without_content, own[-_TAIL:])


def _without_content(line: str) -> str:
    if _CONTENT.search(line):
        head = _HEAD.match(line)
        return f"{head[0] if head else ''}(left out: it may hold what was asked)"
    return _QUOTED.sub("<...>", line)
