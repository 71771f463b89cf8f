"""`doctor --report`: what a bug report needs and nothing that is nobody's business: no key, no prompt, no code."""

from __future__ import annotations

import json
import platform
import re
import textwrap
import time
from typing import TYPE_CHECKING, Any

import yaml

from stackctl import __version__, redact
from stackctl.checks import asked, logs, logtail
from stackctl.checks.check import Hop
from stackctl.clients import claude_version
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stackctl.checks.facts import Facts
    from stackctl.host import Host
    from stackctl.model import Finding

_REQUESTS = 20  # of the newest ones
_LONGEST = 300  # characters of a line
_SECRET = re.compile(r"key|token|secret|password|authorization|cookie", re.IGNORECASE)
_VARIABLES = ("ANTHROPIC_", "CLAUDE", "API_", "STACKCTL_", "NO_PROXY", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "HF_", "CUDA_", "VLLM_")  # fmt: skip


def text(facts: Facts, findings: Sequence[Finding], said: str) -> str:
    """The report, in Markdown."""
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    how = "without a request" if facts.static else "with requests"
    lines = ["# stackctl doctor --report", "", f"verdict: {_safe(facts, said)}", "", f"made {when}, {how}", ""]
    for title, part in (
        ("Versions", _versions(facts)),
        ("Findings", _findings(facts, findings)),
        ("Services", _services(facts)),
        ("The newest requests", _requests(facts)),
        ("Configuration", _configuration(facts)),
        ("This shell", _shell(facts)),
        *(
            (f"The end of {name}.log", logtail.shown(logs.kind_of(name, log), log, facts.clean))
            for name, log in sorted(facts.logs.items())
        ),
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
        yield from filter(None, (_processor(facts.host), _container(facts.host)))
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


def _processor(host: Host) -> str:
    """What decides whether vLLM's CPU build runs, and how fast."""
    return f"processor with {', '.join(host.cpu_features)}" if host.cpu_features else ""


def _container(host: Host) -> str:
    where = f"in a container ({host.container})" if host.container else "WSL" if host.wsl else ""
    return ", ".join(filter(None, (where, "memory limited by a control group" if host.memory_limited else "")))


def _findings(facts: Facts, findings: Sequence[Finding]) -> Iterator[str]:
    """What is wrong first; of what is fine, or was left out because of that, the ids."""
    if facts.load_error is not None:
        yield f"configuration: {facts.load_error.message}"
    told = [each for each in findings if each.status is not Status.OK and not each.cause.startswith("needs ")]
    for each in sorted(told, key=lambda each: (Status.FAIL, Status.WARN, Status.SKIPPED).index(each.status)):
        yield f"{each.status:<8}{each.hop:<14}{each.id}{': ' + each.cause if each.cause else ''}"
        say = logtail.noticed if each.id.startswith("log.") and each.hop != Hop.CLIENT else logtail.without_content
        yield from (f"        | {say(line)}" for line in each.evidence)
    yield from _named("ok", [each.id for each in findings if each.status is Status.OK])
    yield from _named("skipped", [each.id for each in findings if each.cause.startswith("needs ")])


def _named(what: str, ids: Sequence[str]) -> list[str]:
    return textwrap.wrap(
        ", ".join(ids), 110, initial_indent=f"{what:<8}", subsequent_indent=" " * 8, break_on_hyphens=False
    )


def _services(facts: Facts) -> Iterator[str]:
    state = facts.state
    if state is None:
        return
    yield f"stack {state.name}: {state.state}, {'running' if facts.running else 'no supervisor'}, plan {state.plan_digest}"
    now = time.time()
    for each in state.services:
        since = f" for {now - each.since:.0f} s" if each.since else ""
        times = f"{each.restarts} restarts ({each.deaths} deaths)"
        yield f"{each.name}: {each.state}{since}, port {each.port}, {times}, {each.model} {each.detail}".rstrip()
    if state.verified_at:
        yield f"a token came through it {now - state.verified_at:.0f} s ago"
    if state.failure:
        yield f"failure: {state.failure.get('service', '')}: {logtail.without_content(str(state.failure.get('reason', '')))}"
    if state.notice:
        yield f"notice: {state.notice}"


def _requests(facts: Facts) -> Iterator[str]:
    """When the gateway was asked by clients, and how that ended; never what."""
    try:
        found = asked.recorded(facts.paths.requests) if facts.paths is not None and facts.own else ()
    except OSError:
        return
    for each in found[-_REQUESTS:]:
        when = time.strftime("%m-%d %H:%M:%S UTC", time.gmtime(each.at))
        yield f"{when}  {each.path.partition('?')[0]} -> {each.status}, {each.end}, {each.seconds:.1f} s, {each.client}"


def _configuration(facts: Facts) -> Iterator[str]:
    if facts.hand_config is not None:
        yield from yaml.safe_dump(_masked(dict(facts.hand_config)), sort_keys=False).splitlines()
    elif facts.loaded is not None:
        import msgspec

        yield from yaml.safe_dump(_masked(msgspec.to_builtins(facts.loaded.config)), sort_keys=False).splitlines()
    if facts.prepared is not None:
        for fact in facts.prepared.plan.facts:
            value = _masked(fact.value, fact.name.replace("tokens", ""))
            yield f"# {fact.name}: {value} ({fact.origin} {fact.detail})"


def _masked(value: Any, name: str = "") -> Any:
    """The value without what is named as a secret is; references to the environment stay."""
    if isinstance(value, dict):
        return {key: _masked(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        before = ["", *map(str, value)]  # `--api-key WORD` of a command
        return [_masked(each, f"{name} {_flag(flag)}") for flag, each in zip(before, value, strict=False)]
    if isinstance(value, str) and "=" in value and _SECRET.search(_flag(value.partition("=")[0])):
        return f"{value.partition('=')[0]}={redact.HIDDEN}"
    reference = isinstance(value, str) and value.startswith(("os.environ/", "env/"))
    return redact.HIDDEN if isinstance(value, str) and _SECRET.search(name) and not reference else value


def _flag(word: str) -> str:
    """The name of a flag that its value follows; of no other word: values may be called like secrets."""
    return word if word.startswith("-") and "=" not in word else ""


def _shell(facts: Facts) -> Iterator[str]:
    """The variables that matter; of those that may be secrets only that they are set."""
    for name, value in sorted(facts.environ.items()):
        if name.startswith(_VARIABLES):
            shown = "(set)" if _SECRET.search(name.replace("TOKENS", "")) or "HEADERS" in name else json.dumps(value)
            yield f"{name}={shown}"
