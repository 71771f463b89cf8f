"""Checks of a stack's configuration: whether it can be used, and whether what runs is what it says."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

from stackctl import paths, planning, render, rendered
from stackctl.catalog import litellm
from stackctl.checks import answers, as_started
from stackctl.checks.check import Check, Hop
from stackctl.config import EMBEDDED
from stackctl.errors import ConfigError, StackError
from stackctl.model import Finding, Status
from stackctl.plan.engine import EMBEDDED_SERVED
from stackctl.plan.fit import FLOOR
from stackctl.trust import UntrustedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.config import Loaded

_PATIENCE = 60  # seconds
_MISNAMED = ("stack.yml", "stack.yaml.txt", "Stack.yaml", "stackctl.yaml", "stackctl.yml")
_LARGEST = 1 << 16  # bytes of such a file that are read


def usable(facts: Facts) -> Iterator[Finding]:
    """The configuration can be read and planned."""
    error = facts.load_error
    if isinstance(error, UntrustedError):
        yield _said(error, "configuration.untrusted")
    elif error is not None:
        yield _said(error, "configuration.unusable")
    elif facts.paths_error is not None:
        yield _said(facts.paths_error, "configuration.unusable")
    if facts.loaded is None:
        return
    unset = _unset(facts, facts.loaded)
    away = [each.url for each in facts.loaded.engines.values() if each.url is not None]
    for where, variable in unset:
        yield answers.finding(
            "configuration.missing-variable",
            Status.FAIL,
            (where,),
            variable=variable,
            path=where,
            where="in this shell",
        )
    if facts.prepare_error is None or unset:
        return
    if away:
        yield answers.finding("engine.unreachable", Status.FAIL, (facts.prepare_error.message,), url=away[0])
    else:
        yield _said(facts.prepare_error, "configuration.unusable")


def _unset(facts: Facts, loaded: Loaded) -> list[tuple[str, str]]:
    """(path, variable) of each key that is read from a variable which is not set. A stack that runs has its keys."""
    named = [(f"engines.{name}.api_key", each.api_key) for name, each in loaded.engines.items()]
    named += [(f"routes.{name}.api_key", each.api_key) for name, each in loaded.hosted.items()]
    found = [(path, value.removeprefix("env/")) for path, value in named if value]
    return [(path, name) for path, name in found if not facts.running and not facts.environ.get(name)]


def _said(error: StackError, name: str) -> Finding:
    return answers.restated(Finding(name, Status.FAIL, error.message, error.evidence, error.remedy), name)


def files(facts: Facts) -> Iterator[Finding]:
    """The gateway's files can be rendered, and nobody has changed the ones on disk by hand."""
    if facts.prepared is None or facts.paths is None:
        return
    try:
        render.render(facts.prepared.plan)
    except ConfigError as error:
        yield _said(error, "configuration.template")
        return
    edited = rendered.hand_edited(facts.paths.gateway_dir)
    for name in edited:
        path = os.path.join(facts.paths.gateway_dir, name)
        yield answers.finding("configuration.hand-edited", Status.WARN, (path,), path=path, blocks=False)
    if facts.running:
        for name in rendered.missing(facts.paths.gateway_dir):
            path = os.path.join(facts.paths.gateway_dir, name)
            yield answers.finding("configuration.file-gone", Status.FAIL, (path,), path=path)


def _drifted(facts: Facts) -> bool:
    """Whether the running stack has another plan than the configuration has now."""
    state, prepared = facts.state, facts.prepared
    return (
        facts.running
        and state is not None
        and prepared is not None
        and bool(state.plan_digest)
        and state.plan_digest != prepared.plan.digest
    )


def drift(facts: Facts) -> Iterator[Finding]:
    """What runs is what the configuration says."""
    if facts.running and facts.state is not None and facts.state.recovered:
        yield answers.finding("configuration.plan-lost", Status.WARN)
    elif facts.running and facts.paths and (gone := as_started.gone(facts.flags, facts.paths, facts.environ)):
        yield answers.finding("configuration.source-gone", Status.WARN, (gone,), path=gone, blocks=False)
    elif _drifted(facts) and _known(facts) and facts.state is not None and facts.prepared is not None:
        source = facts.loaded.source if facts.loaded is not None and facts.loaded.source else "the configuration"
        shown = (f"running: {facts.state.plan_digest}", f"{source}: {facts.prepared.plan.digest}")
        yield answers.finding("configuration.drift", Status.WARN, shown, source=source, blocks=False)


def _known(facts: Facts) -> bool:
    """Whether the plan is whole: unasked, an engine elsewhere has no name; a directory named on the command line is not
    recorded.
    """
    loaded, state, prepared = facts.loaded, facts.state, facts.prepared
    if loaded is None or state is None or state.client is None or prepared is None:
        return False
    unasked = any(each.served == planning.UNASKED for each in prepared.plan.engines)
    by_default = loaded.origin(f"engines.{loaded.engine_name}.model")[0] == "default" and not loaded.engine.url
    return not unasked and not (by_default and state.client.served != EMBEDDED_SERVED)


def sensible(facts: Facts) -> Iterator[Finding]:
    """The window has room for an agent, and the gateway waits long enough."""
    if facts.prepared is None or facts.loaded is None:
        return
    plan = facts.prepared.plan
    for route, hosted in facts.loaded.hosted.items():
        provider, _, model = hosted.hosted.partition("/")
        near = difflib.get_close_matches(provider, litellm.known().providers, n=1, cutoff=0.85)
        if near and provider not in litellm.known().providers:
            yield answers.finding(
                "configuration.provider-unknown", Status.FAIL, (f"routes.{route}.hosted: {hosted.hosted}",),
                route=route, provider=provider, meant=f"{near[0]}/{model}",
            )  # fmt: skip
    for each in plan.engines:
        if each.window is not None and each.window < FLOOR and each.model != EMBEDDED:
            yield answers.finding(
                "configuration.window-small", Status.WARN, (f"max_model_len: {each.window}",),
                window=f"{each.window:,}", engine=each.name, blocks=False,
            )  # fmt: skip
    if plan.gateway.request_timeout < _PATIENCE:
        shown = f"gateway.request_timeout: {plan.gateway.request_timeout}"
        yield answers.finding("configuration.timeout-short", Status.WARN, (shown,), shown=shown, blocks=False)


def named(facts: Facts) -> Iterator[Finding]:
    """A file that was meant as the configuration has the name that is looked for."""
    if facts.loaded is None or facts.loaded.source is not None or facts.running:
        return
    for folder in (facts.cwd, paths.config_dir()):
        for name in _MISNAMED:
            path = os.path.join(folder, name)
            try:
                with open(path, encoding="utf-8", errors="replace") as stream:
                    ours = "\nengines:" in "\n" + stream.read(_LARGEST)  # Docker's stacks have such names too
            except OSError:
                continue
            if ours:
                yield answers.finding(
                    "configuration.misnamed", Status.WARN, (path,), path=path, folder=folder, blocks=False
                )


CHECKS = (
    Check("configuration.usable", Hop.CONFIG, "The configuration can be read and planned.", usable),
    Check("configuration.named", Hop.CONFIG, "A file that was meant as the configuration has its name.", named),
    Check("configuration.files", Hop.CONFIG, "The gateway's files are as they were rendered.", files, ("configuration.usable",)),
    Check("configuration.drift", Hop.CONFIG, "What runs is what the configuration says.", drift, ("configuration.usable",)),
    Check("configuration.sensible", Hop.CONFIG, "Window and timeout suit an agent.", sensible, ("configuration.usable",)),
)  # fmt: skip
