"""Checks of a hand-written litellm_config.yaml: what Claude Code asks for against what is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stackctl.checks import answers
from stackctl.checks.handmade import file
from stackctl.checks.litellm_file import REFERENCE
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_REAL = re.compile(r"^claude-(?:opus|sonnet|haiku|fable)-|^claude-\d")
_SELF_HOSTED = ("hosted_vllm/", "vllm/", "openai_like/", "litellm_proxy/")
_GUESSABLE = 16  # characters: a shorter key can be guessed, and LiteLLM's own examples are short


def lengths(facts: Facts) -> Iterator[Finding]:
    """An answer that is too long for the window is cut to size: Claude Code asks for 32000 tokens or more."""
    clamps = file.section(facts.hand_config or {}, "litellm_settings").get("modify_params") is True
    local = [row for _, row, params in file.rows(facts.hand_config) if isinstance(params.get("api_base"), str)]
    if local and not clamps:
        shown = ("litellm_settings.modify_params is not true",)
        yield answers.finding("configuration.modify-params", Status.WARN, shown, blocks=False)


def addresses(facts: Facts) -> Iterator[Finding]:
    """A model of one's own has the address of its server."""
    for _, row, params in file.rows(facts.hand_config):
        model = str(params.get("model", ""))
        if model.startswith(_SELF_HOSTED) and not params.get("api_base") and not row.get("api_base"):
            name = str(row.get("model_name"))
            yield answers.finding("configuration.no-base", Status.FAIL, (f"{name}: model: {model}",), name=name)


def real_names(facts: Facts) -> Iterator[Finding]:
    """No server of one's own answers to a name that Claude Code knows: it would not believe in another window."""
    for _, row, params in file.rows(facts.hand_config):
        name, base = str(row.get("model_name", "")), params.get("api_base")
        if _REAL.match(name) and isinstance(base, str) and "api.anthropic.com" not in base:
            yield answers.finding(
                "configuration.hosted-name", Status.WARN, (f"model_name: {name}",), name=name, blocks=False
            )


def master(facts: Facts) -> Iterator[Finding]:
    """The master key is not one that anybody guesses."""
    key = file.section(facts.hand_config or {}, "general_settings").get("master_key")
    if isinstance(key, str) and not key.startswith(REFERENCE) and len(key) < _GUESSABLE:
        shown = ("general_settings.master_key",)
        yield answers.finding("configuration.weak-key", Status.WARN, shown, length=len(key), blocks=False)


CHECKS = (
    file.check("hand-lengths", "Too long answers are cut to the window.", lengths),
    file.check("hand-addresses", "Each model of one's own has an address.", addresses),
    file.check("hand-names", "No name hides the true window from Claude Code.", real_names),
    file.check("hand-master", "The master key cannot be guessed.", master),
)
