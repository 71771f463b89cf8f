"""A hand-written litellm_config.yaml as its checks read it: whatever stands in a place of another shape counts as nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackctl.checks.check import Check, Hop
from stackctl.checks.litellm_file import with_base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding


def check(name: str, proves: str, run: Callable[[Facts], Iterator[Finding]]) -> Check:
    """A check of what the file says: it needs one that can be read."""
    return Check(f"configuration.{name}", Hop.CONFIG, proves, run, ("configuration.file",))


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
        (number, row, with_base(section(row, "litellm_params")))
        for number, row in enumerate(found if isinstance(found, list) else [])
        if isinstance(row, dict)
    ]


def named(config: Mapping[str, Any] | None) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Each row of the model_list: its number, its name for people, and its litellm_params."""
    return [(number, name_of(number, row), params) for number, row, params in rows(config)]


def name_of(number: int, row: Mapping[str, Any]) -> str:
    """A row's model_name, else its place."""
    return str(row.get("model_name") or f"model_list[{number}]")


def texts(value: Any, path: str = "", place: str = "") -> Iterator[tuple[str, str, str]]:
    """Each text below a value, with its path as people write it and as a repair takes it."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            shown = f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}".lstrip(".")
            yield from texts(each, shown, f"{place}.{str(key).replace('.', chr(92) + '.')}".lstrip("."))
    elif isinstance(value, str):
        yield path, place, value
