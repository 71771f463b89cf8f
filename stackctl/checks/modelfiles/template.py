"""Checks of what tool calls need of the model: its chat template, and the parser of its family."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from stackctl import checkpoint
from stackctl.catalog import families, registries
from stackctl.checks import answers
from stackctl.checks.modelfiles import models
from stackctl.config import EMBEDDED
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.config import EngineConfig
    from stackctl.model import Finding


def template(facts: Facts) -> Iterator[Finding]:
    """There is a chat template, the model's own or the one that was named, and it looks at tools."""
    for each in models.of(facts):
        found = each.checkpoint()
        named = _named(each.config)
        given = any(word.startswith("--chat-template") for word in each.engine.argv)
        if found is None or (given and named is None) or found.mistral_format:
            continue
        words: dict[str, Any] = {"model": each.engine.model, "engine": each.engine.name}
        text, where = named or (found.chat_template, found.path)
        if text is None or not text.strip():
            yield answers.finding(
                "model.template", Status.FAIL, (where if text is None else f"{where}: it is empty",), **words
            )
        elif said := _spoilt(text):
            yield answers.finding("model.template-spoilt", Status.FAIL, (where, said), **words)
        elif not checkpoint.takes_tools(text):
            yield answers.finding("model.no-tools", Status.WARN, (where,), blocks=False, **words)


def _named(config: EngineConfig) -> tuple[str, str] | None:
    """The chat template that the configuration names, and its path; None for one that is not there, or no file."""
    path = config.args.get("chat-template")
    if not isinstance(path, str) or "{" in path or "\n" in path:
        return None
    try:
        with open(os.path.expanduser(path), encoding="utf-8", errors="replace") as stream:
            return stream.read(checkpoint.LARGEST_CONFIG), path
    except OSError:
        return None


def _spoilt(text: str) -> str:
    """Why a chat template cannot be parsed; empty when it can. transformers' own tags count as known."""
    import jinja2

    try:
        jinja2.Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=True).parse(text)
    except jinja2.TemplateSyntaxError as error:
        return "" if "generation" in str(error.message) else f"line {error.lineno}: {error.message}"
    return ""


def tool_parser(facts: Facts) -> Iterator[Finding]:
    """The tool parser that is set is the one that reads this model's family."""
    for each in models.of(facts):
        set_one = each.config.args.get("tool-call-parser")
        if each.engine.model == EMBEDDED or not isinstance(set_one, str):
            continue
        family = families.match(each.engine.model)
        if family is None and (found := each.checkpoint()) is not None and found.chat_template:
            family = families.from_template(found.chat_template)
        if family is None or not family.tool:
            continue
        if not registries.same(set_one, family.tool):
            status = Status.FAIL if family.confidence != "low" else Status.WARN
            yield answers.finding(
                "configuration.parser-other", status, (f"tool-call-parser: {set_one}", f"catalogue: {family.tool}"),
                parser=set_one, right=family.tool, model=each.engine.model, engine=each.engine.name, blocks=False,
            )  # fmt: skip
