"""Checks of a hand-written litellm_config.yaml: slips of the pen that LiteLLM takes without a word."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from stackctl.catalog import litellm
from stackctl.checks import answers
from stackctl.checks.handmade import file
from stackctl.checks.litellm_file import REFERENCE
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_NEAR = 0.85
# How other programs write a variable; LiteLLM sends it as it stands.
_VARIABLE = re.compile(
    r"^(?:\$\{?|\{\{\s*(?:env\.)?|(?:os\.environ(?:\.get)?|os\.getenv|process\.env)[.\[(]['\"]?|env[/:.]|%)"
    r"(?P<name>[A-Z][A-Z0-9_]*)(?::-[^}]*)?['\"]?(?:\}|\]|\)|\s*\}\}|%)?$"
)


def spelling(facts: Facts) -> Iterator[Finding]:
    """No setting is misspelt: LiteLLM would go on without it."""
    config = facts.hand_config or {}
    for section, known in litellm.known().settings.items():
        yield from _misspelt(file.section(config, section), known, section)
    for number, _, params in file.named(config):
        yield from _misspelt(params, litellm.known().params, f"model_list.{number}.litellm_params")


def _misspelt(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> Iterator[Finding]:
    for key in map(str, given):
        near = difflib.get_close_matches(key, known, n=1, cutoff=_NEAR)
        if near and key not in known and key not in litellm.known().alike and given.get(near[0]) is None:
            yield answers.finding(
                "configuration.misspelt", Status.FAIL, (f"{where}.{key}",), key=key, near=near[0], path=f"{where}.{key}"
            )


def variables(facts: Facts) -> Iterator[Finding]:
    """Variables are written as LiteLLM reads them."""
    for path, place, value in file.texts(facts.hand_config or {}):
        found = _VARIABLE.match(value)
        if found is not None:
            yield answers.finding(
                "configuration.not-expanded", Status.FAIL, (f"{path}: {value}",), path=path, place=place, said=value, name=found["name"]
            )  # fmt: skip


def is_variable(value: str) -> bool:
    """Whether somebody meant a variable by it."""
    return _VARIABLE.match(value) is not None


def schemes(facts: Facts) -> Iterator[Finding]:
    """Each address begins with http:// or https://."""
    for _, name, params in file.named(facts.hand_config or {}):
        base = params.get("api_base")
        if isinstance(base, str) and base and "://" not in base and not base.startswith(REFERENCE) and not is_variable(base):  # fmt: skip
            yield answers.finding("configuration.no-scheme", Status.FAIL, (f"{name}: api_base: {base}",), name=name, base=base)  # fmt: skip


def inside(facts: Facts) -> Iterator[Finding]:
    """No row asks LiteLLM to run vLLM in its own process."""
    for _, name, params in file.named(facts.hand_config or {}):
        model = str(params.get("model", ""))
        if model.startswith("vllm/"):
            served = model.partition("/")[2]
            yield answers.finding("configuration.vllm-inside", Status.FAIL, (f"{name}: model: {model}",), name=name, served=served)  # fmt: skip


CHECKS = (
    file.check("spelling", "No setting of LiteLLM's is misspelt.", spelling),
    file.check("variables", "Variables are written as LiteLLM reads them.", variables),
    file.check("schemes", "Each address has a scheme.", schemes),
    file.check("inside", "vLLM runs outside of LiteLLM.", inside),
)
