"""Checks of what stands under `args:`: vLLM would die of it a minute after its start."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

from stackctl import vllm_registry
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.modelfiles import models
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stackctl.checks.facts import Facts
    from stackctl.config import EngineConfig
    from stackctl.model import Finding
    from stackctl.plan.types import EnginePlan

_SHARES = ("gpu-memory-utilization", "memory-utilization")
_ALIKE = 0.8  # of 1; vLLM has 300 flags, and one that went is a little like some other
_SPLITS = ("tensor-parallel-size", "pipeline-parallel-size")


def known(facts: Facts) -> Iterator[Finding]:
    """Each flag is one that the installed vLLM has."""
    for each in models.of(facts):
        engine, tool = each.engine, each.engine.toolchain
        names = vllm_registry.flags(tool.site_packages) if tool is not None and tool.installed else None
        if tool is None or names is None:
            continue
        for flag in each.config.args:
            plain = flag.partition(".")[0]
            if plain in names or plain.removeprefix("no-") in names:
                continue
            near = nearest(plain, {name.replace("-", "_") for name in names}, cutoff=_ALIKE)
            near = None if near is not None and _opposite(plain, near) else near
            yield answers.finding(
                "configuration.unknown-flag" if near else "configuration.foreign-flag", Status.FAIL,
                (f"engines.{engine.name}.args: {flag}",),
                flag=flag, near=(near or "").replace("_", "-"), engine=engine.name, version=tool.version,
            )  # fmt: skip


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that a misspelt one most likely means, ignoring case and `-` for `_`; None when none is near.

    `cutoff` is how alike they must be (difflib's ratio).
    """
    by_plain = {_plain(each): each for each in sorted(known)}
    close = difflib.get_close_matches(_plain(name), by_plain, n=1, cutoff=cutoff)
    return by_plain[close[0]] if close else None


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def _opposite(one: str, other: str) -> bool:
    """Whether the one switches off what the other switches on: flags that went were often turned round."""
    off = ("disable", "no-", "no_")
    return one.startswith(off) != other.startswith(off)


def values(facts: Facts) -> Iterator[Finding]:
    """The values are possible: shares between 0 and 1, a template that is there, no more parts than GPUs."""
    for each in models.of(facts):
        engine, config = each.engine, each.config
        yield from _quoted(engine.name, config)
        for flag in _SHARES:
            share = config.args.get(flag)
            if share is not None and not _is_share(share):
                shown = (f"engines.{engine.name}.args: {{{flag}: {share}}}",)
                yield answers.finding(
                    "configuration.share", Status.FAIL, shown, flag=flag, share=share, engine=engine.name
                )
        yield from _template(facts, engine.name, config.args.get("chat-template"))
        yield from _parts(facts, engine, config)


def _is_share(value: object) -> bool:
    """Also one in quotes: vLLM gets words in any case."""
    try:
        return isinstance(value, int | float | str) and not isinstance(value, bool) and 0 < float(value) <= 1
    except ValueError:
        return False


def _quoted(engine: str, config: EngineConfig) -> Iterator[Finding]:
    """vLLM's switches take no word after them (0.32.0: it becomes the model's tag, and the switch is on)."""
    for flag, value in config.args.items():
        word = value.strip().lower() if isinstance(value, str) else ""
        if word in {"true", "false"}:
            shown = (f"engines.{engine}.args: {{{flag}: {value!r}}}",)
            yield answers.finding(
                "configuration.quoted", Status.FAIL, shown, flag=flag, value=value, word=word, engine=engine
            )


def _template(facts: Facts, engine: str, template: object) -> Iterator[Finding]:
    if isinstance(template, str) and _is_path(template):
        where = os.path.join(facts.paths.engine_dir if facts.paths is not None else "/", os.path.expanduser(template))
        if not os.path.isfile(where):
            shown = (f"vLLM would look for {where}",)
            yield answers.finding("configuration.template-gone", Status.FAIL, shown, template=template, engine=engine)


def _parts(facts: Facts, engine: EnginePlan, config: EngineConfig) -> Iterator[Finding]:
    args = config.args
    named = [flag for flag in _SPLITS if isinstance(args.get(flag), int)]
    parts = 1
    for flag in named:
        parts *= args[flag]
    gpus = len(facts.host.gpus) if facts.host is not None else 0
    if parts > max(gpus, 1) and "nnodes" not in args and args.get("distributed-executor-backend") != "ray":
        yield answers.finding(
            "configuration.too-many-parts", Status.FAIL, [f"{flag}: {args[flag]}" for flag in named],
            parts=parts, gpus=gpus, engine=engine.name, flag=named[0],
        )  # fmt: skip


def tools(facts: Facts) -> Iterator[Finding]:
    """Tool calls are not switched off: no agent works without them."""
    for each in models.of(facts):
        engine, config = each.engine, each.config
        for flag, off in (("enable-auto-tool-choice", False), ("no-enable-auto-tool-choice", True)):
            if config.args.get(flag) is off:
                shown = (f"engines.{engine.name}.args: {{{flag}: {str(off).lower()}}}",)
                yield answers.finding(
                    "configuration.tools-off", Status.WARN, shown, engine=engine.name, flag=flag, blocks=False
                )


def _is_path(template: str) -> bool:
    """As vLLM tells a path from a template written out (entrypoints/chat_utils.py): no braces, no line break."""
    return not any(mark in template for mark in "{}\n")


CHECKS = (
    Check("configuration.flags", Hop.CONFIG, "Each flag under args is one of the installed vLLM's.", known),
    Check("configuration.values", Hop.CONFIG, "The flags' values are possible on this machine.", values),
    Check("configuration.tools", Hop.CONFIG, "Tool calls are not switched off.", tools),
)
