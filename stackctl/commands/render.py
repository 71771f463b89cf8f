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
    parts = []
    if plan.engine.managed:
        variables = "".join(f"  {name}={shlex.quote(value)} \\\n" for name, value in plan.engine.env.items())
        parts.append(
            f"# engine: {plan.engine.model} as {plan.engine.served}, {plan.engine.url}\n{variables}  {shlex.join(plan.engine.argv)}\n"
        )
    else:
        parts.append(f"# engine: {plan.engine.served}, already running at {plan.engine.url}\n")
    if plan.gateway.argv:
        parts.append(f"# gateway: {plan.gateway.url}\n  {shlex.join(plan.gateway.argv)}\n")
    parts += [
        f"# file: {os.path.join(paths.gateway_dir, each.name)}\n{each.text}"
        for each in rendered
        if each.name == rendering.CONFIG_FILE
    ]
    return "\n".join(parts)


def as_data(prepared: Prepared, rendered: tuple[RenderedFile, ...]) -> dict[str, Any]:
    """The plan for --json."""
    plan = prepared.plan
    return {
        "name": plan.name,
        "digest": plan.digest,
        "engine": {"argv": list(plan.engine.argv), "env": dict(plan.engine.env), "url": plan.engine.url, "model": plan.engine.model,
                   "served": plan.engine.served, "window": plan.engine.window},
        "gateway": {"kind": plan.gateway.kind, "argv": list(plan.gateway.argv), "url": plan.gateway.url},
        "client": {"model": plan.client_model, "aliases": list(plan.aliases), "output_limit": plan.output_limit},
        "files": {each.name: each.text for each in rendered},
    }  # fmt: skip


def _fact(fact: Any) -> dict[str, str]:
    return {"name": fact.name, "value": fact.value, "origin": fact.origin, "detail": fact.detail}


def _explained(prepared: Prepared) -> str:
    rows = [
        (fact.name, fact.value, f"{fact.origin}: {fact.detail}" if fact.detail else fact.origin)
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
