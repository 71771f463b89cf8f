"""Parsers by version: every one that the catalogue names is in the wheels, and a missing name is mapped by its class."""

from __future__ import annotations

import pytest

from stackctl.catalog import families, registries

ROWS = (*families.catalogue().families, *families.catalogue().templates)
NEW = {("tool", "muse"), ("tool", "step5"), ("reasoning", "muse"), ("reasoning", "step5")}  # families of after 0.32


def test_the_tested_range_is_recorded_with_the_wheels_it_was_read_from() -> None:
    assert [each.version for each in registries.releases()] == ["0.32.0", "0.33.0"]
    for each in registries.releases():
        assert each.wheel.startswith(f"vllm-{each.version}-")
        assert len(each.sha256) == 64
        assert len(each.tool) > 50
        assert len(each.reasoning) > 35


@pytest.mark.parametrize("release", registries.releases(), ids=lambda each: each.version)
def test_every_parser_that_a_row_names_is_in_the_wheel(release: registries.Release) -> None:
    missing = set()
    for row in ROWS:
        if row.tool and row.tool not in release.tool:
            missing.add(("tool", row.tool))
        if row.reasoning and row.reasoning not in release.reasoning:
            missing.add(("reasoning", row.reasoning))
    assert missing == (NEW if release.version == "0.32.0" else set())


@pytest.mark.parametrize(
    ("version", "name", "kind", "expected"),
    [
        ("0.33.0", "qwen3_xml", "tool", "qwen3_xml"),
        ("0.32.0", "step5", "tool", None),
        ("0.33.0", "step5", "tool", "step5"),
        ("0.32.0", "muse", "reasoning", None),
        ("0.32.0+cpu", "hermes", "tool", "hermes"),
        ("0.33.0rc1", "beam", "tool", "beam"),
        ("0.40", "beam", "tool", "beam"),
        ("dev", "beam", "tool", "beam"),
        ("0.33.0", "qwen3", "reasoning", "qwen3"),
        ("0.33.0", "qwen3", "tool", None),
        ("0.33.0", "qwen2_5_coder", "tool", None),
    ],
)
def test_a_parser_is_known_by_version(
    version: str, name: str, kind: registries.ParserKind, expected: str | None
) -> None:
    assert registries.parser_for(version, name, kind=kind) == expected


def test_what_is_installed_beats_the_table_and_the_other_name_of_a_class_is_found() -> None:
    assert registries.parser_for("0.33.0", "qwen3_coder", installed=frozenset({"qwen3_xml"})) == "qwen3_xml"
    assert registries.parser_for("0.33.0", "qwen3_xml", installed=frozenset({"qwen3_coder"})) == "qwen3_coder"
    assert registries.parser_for("0.33.0", "hermes", installed=frozenset({"qwen3_json"})) == "qwen3_json"
    assert registries.parser_for("0.33.0", "hermes", installed=frozenset({"mistral"})) is None
    assert registries.parser_for("0.1.0", "new_one", installed=frozenset({"new_one"})) == "new_one"
