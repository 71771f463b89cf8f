"""`stackctl render` and `up --dry-run`: what would be written and run. Nothing is."""

from __future__ import annotations

import difflib
import os
import shlex
from typing import TYPE_CHECKING, Any

from stackctl import files, planning
from stackctl import render as rendering
from stackctl.output import Outcome

if TYPE_CHECKING:
    from stackctl.config import Flags
    from stackctl.plan import EnginePlan
    from stackctl.planning import Prepared
    from stackctl.rendered import RenderedFile


def run(flags: Flags, *, explain: bool = False, diff: bool = False) -> Outcome:
    """Show the plan: files and argv, where each value came from (`explain`), or what differs on disk (`diff`)."""
    prepared = planning.prepare(flags)
    rendered = rendering.render(prepared.plan)
    notes = [f"stackctl: {note}" for note in prepared.plan.notes]
    data = as_data(prepared, rendered)
    if diff:
        return Outcome(lines=notes, stdout=_diff(prepared, rendered), data=data)
    if explain:
        facts = prepared.plan.facts
        return Outcome(lines=notes, stdout=_explained(prepared), data=data | {"facts": [_fact(f) for f in facts]})
    return Outcome(lines=notes, stdout=shown(prepared, rendered), data=data)


def shown(prepared: Prepared, rendered: tuple[RenderedFile, ...]) -> str:
    """The whole plan as text: commands with their environment, then each file."""
    plan, paths = prepared.plan, prepared.paths
    parts = [_engine(each) for each in plan.engines]
    if plan.gateway.argv:
        parts.append(f"# gateway: {plan.gateway.url}\n  {shlex.join(plan.gateway.argv)}\n")
    parts += [
        f"# file: {os.path.join(paths.gateway_dir, each.name)}\n{each.text}"
        for each in rendered
        if each.name == rendering.CONFIG_FILE
    ]
    return "\n".join(parts)


def _engine(engine: EnginePlan) -> str:
    who = engine.service if engine.service == "engine" else f"engine {engine.name}"
    if not engine.managed:
        return f"# {who}: {engine.served}, already running at {engine.url}\n"
    variables = "".join(f"  {name}={shlex.quote(value)} \\\n" for name, value in engine.env.items())
    return f"# {who}: {engine.model} as {engine.served}, {engine.url}\n{variables}  {shlex.join(engine.argv)}\n"


def as_data(prepared: Prepared, rendered: tuple[RenderedFile, ...]) -> dict[str, Any]:
    """The plan for --json."""
    plan = prepared.plan
    return {
        "name": plan.name,
        "digest": plan.digest,
        "engine": _engine_data(plan.engine),
        "engines": {each.name: _engine_data(each) for each in plan.engines},
        "routes": {each.name: {"model": each.model, "to": each.to.model, "engine": getattr(each.to, "name", None)} for each in plan.routes},
        "gateway": {"kind": plan.gateway.kind, "argv": list(plan.gateway.argv), "url": plan.gateway.url},
        "client": {"model": plan.client_model, "aliases": list(plan.aliases), "output_limit": plan.output_limit},
        "files": {each.name: each.text for each in rendered},
    }  # fmt: skip


def _engine_data(engine: EnginePlan) -> dict[str, Any]:
    return {
        "argv": list(engine.argv),
        "env": dict(engine.env),
        "url": engine.url,
        "model": engine.model,
        "served": engine.served,
        "window": engine.window,
    }


def _fact(fact: Any) -> dict[str, str]:
    return {"name": fact.name, "value": fact.value, "origin": fact.origin, "detail": fact.detail}


def _explained(prepared: Prepared) -> str:
    several = len(prepared.plan.engines) > 1
    rows = [
        (
            f"{fact.engine} {fact.name}" if several and fact.engine else fact.name,
            fact.value,
            f"{fact.origin}: {fact.detail}" if fact.detail else fact.origin,
        )
        for fact in prepared.plan.facts
    ]
    name = max(len(row[0]) for row in rows)
    value = min(60, max(len(row[1]) for row in rows))
    return "".join(f"{row[0]:<{name}}  {row[1]:<{value}}  {row[2]}\n" for row in rows)


def _diff(prepared: Prepared, rendered: tuple[RenderedFile, ...]) -> str:
    text = ""
    for each in rendered:
        path = os.path.join(prepared.paths.gateway_dir, each.name)
        try:
            old = files.read_private(path).decode(errors="replace")
        except OSError:
            old = ""
        text += "".join(
            difflib.unified_diff(
                old.splitlines(keepends=True), each.text.splitlines(keepends=True), path, f"{path} (now)"
            )
        )
    return text
