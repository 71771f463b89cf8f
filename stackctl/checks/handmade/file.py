"""A hand-written litellm_config.yaml as its checks read it: whatever stands in a place of another shape counts as nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping by its key; empty where there is none."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def is_true(value: Any) -> bool:
    """A flag that LiteLLM 1.106.2 takes for yes, also as a text."""
    return value is True or (isinstance(value, str) and value.strip().lower() in {"true", "1", "yes", "on", "t", "y"})


def rows(config: Mapping[str, Any] | None) -> list[tuple[int, Mapping[str, Any], Mapping[str, Any]]]:
    """Each row of the model_list: its number in the file (from 0), the row, and its litellm_params."""
    found = (config or {}).get("model_list")
    return [
        (number, row, section(row, "litellm_params"))
        for number, row in enumerate(found if isinstance(found, list) else [])
        if isinstance(row, dict)
    ]
