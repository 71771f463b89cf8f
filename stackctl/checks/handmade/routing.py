"""Checks of a hand-written litellm_config.yaml: what takes a failed model's place, and settings in another section than theirs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from stackctl.checks import answers
from stackctl.checks.handmade import file, values
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_BOTH = ("litellm_settings", "router_settings")
# Where LiteLLM 1.106.2 reads a setting: elsewhere it goes on without. (Of others a check of their own says that they are not set.)
_PLACES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((*_FALLBACKS, "default_fallbacks"), _BOTH),
    **dict.fromkeys(("model_group_alias", "routing_strategy", "enable_pre_call_checks"), ("router_settings",)),
    **dict.fromkeys(("success_callback", "failure_callback", "cache_params", "request_timeout"), ("litellm_settings",)),
    **dict.fromkeys(("custom_auth", "database_url"), ("general_settings",)),
}
_SECTIONS = ("", "litellm_settings", "router_settings", "general_settings")


def _fallbacks(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """What is said of fallbacks: the section, the setting, and its value."""
    for section in ("router_settings", "litellm_settings"):
        for key in _FALLBACKS:
            if key in file.section(config, section):
                yield section, key, file.section(config, section)[key]


def fallbacks(facts: Facts) -> Iterator[Finding]:
    """What takes the place of a model that fails is in the model_list."""
    config = facts.hand_config or {}
    known = [name for _, name, _ in file.named(config)]
    if not known or any("*" in name for name in known):
        return
    for section, key, value in _fallbacks(config):
        for each in value if isinstance(value, list) else ():
            for name, targets in each.items() if isinstance(each, dict) else ():
                missing = [str(to) for to in targets if to not in known] if isinstance(targets, list) else []
                if missing:
                    found = answers.finding(
                        "configuration.fallback-target", Status.WARN, (f"{section}.{key}: {name}: {missing[0]}",),
                        name=name, section=section, target=missing[0], blocks=False,
                    )  # fmt: skip
                    yield found if key == "fallbacks" else dataclasses.replace(found, fix="")


def fallback_shapes(facts: Facts) -> Iterator[Finding]:
    """Fallbacks are a list, a line for each name: LiteLLM 1.106.2 dies of another shape, or when it would need one."""
    for section, key, value in _fallbacks(facts.hand_config or {}):
        lines = value if isinstance(value, list) else [value]
        if value is None or (isinstance(value, list) and all(map(_falls_back, lines))):
            continue
        bad = value if not isinstance(value, list) else next(each for each in lines if not _falls_back(each))
        yield values.wrong(f"{section}.{key}", str(bad), "a list with one name a line: - NAME: [OTHER]")


def _falls_back(line: Any) -> bool:
    return isinstance(line, dict) and len(line) == 1 and all(isinstance(each, list) for each in line.values())


def places(facts: Facts) -> Iterator[Finding]:
    """Each setting stands in the section that LiteLLM reads it from."""
    config = facts.hand_config or {}
    for key, right in _PLACES.items():
        for section in _SECTIONS:
            given = config if not section else file.section(config, section)
            if section not in right and given.get(key) is not None:
                path = f"{section}.{key}" if section else key
                yield answers.finding(
                    "configuration.misplaced", Status.WARN, (f"{path}:",), key=key, right=right[0],
                    where=section or "no section", blocks=False,
                )  # fmt: skip


CHECKS = (
    file.check("fallbacks", "What takes a failed model's place is there.", fallbacks),
    file.check("fallback-shapes", "Fallbacks are written as LiteLLM reads them.", fallback_shapes),
    file.check("places", "Each setting stands where LiteLLM reads it.", places),
)
