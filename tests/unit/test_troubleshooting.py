"""The manual of doctor's findings: the generated file, its anchors, and what --explain finds.

It is made of answers/{machine,toolchain,model,configuration,engine,gateway,client,behaviour}.yaml, symptoms/*.yaml,
running.yaml and known.yaml: who changes one of them runs `make troubleshooting-doc`.
"""

from __future__ import annotations

import re

import pytest

from stackctl.catalog import running, symptoms
from stackctl.checks import logs, manual
from stackctl.commands import doctor
from stackctl.errors import ConfigError
from tests import troubleshooting


def test_the_file_is_what_the_catalogue_says() -> None:
    same = troubleshooting.FILE.read_text(encoding="utf-8") == troubleshooting.text()
    assert same, "the catalogue has changed: run `make troubleshooting-doc` and commit docs/TROUBLESHOOTING.md"


def test_every_finding_has_one_anchor_and_every_link_leads_to_one() -> None:
    text = troubleshooting.text()
    anchors = re.findall(r'<a id="([^"]+)">', text)
    assert len(anchors) == len(set(anchors))
    assert set(anchors) == {topic.anchor for topic in manual.topics().values()}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(anchors)


def test_it_begins_with_the_five_symptoms_of_the_guides() -> None:
    rows = [line for line in troubleshooting.text().splitlines() if line.startswith("| ") and "---" not in line]
    first = [row.split("|")[1].strip() for row in rows[1:6]]
    assert [each.split()[0] for each in first] == ["Claude", "about", "streams", "claude", "prose"]


def test_no_text_is_empty_and_no_brace_is_left() -> None:
    for topic in manual.topics().values():
        for text in (topic.symptom, topic.cause, topic.remedy):
            assert text, topic.id
            assert not re.search(r"\{[a-z_]+(?::,)?\}", text), (topic.id, text)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("client.retry-storm", "client.retry-storm"),
        ("client-retry-storm", "client.retry-storm"),
        ("log.kv-too-small", "log.kv-too-small"),
        ("kv_too_small", "log.kv-too-small"),
        ("API Error: 400 No connected db.", "log.not-master-key"),
        ("OSError: [Errno 98] Address already in use", "log.port-in-use"),
        ("Auth conflict: Both a token (ANTHROPIC_AUTH_TOKEN) and an API key are set", "log.two-keys"),
    ],
)
def test_a_finding_is_found_by_its_id_or_by_what_was_seen(asked: str, found: str) -> None:
    assert manual.find(asked).id == found


@pytest.mark.parametrize(
    ("asked", "found"),
    [("No deployments available", "log.cooldown"), ("no deployments AVAILABLE for selected model", "log.cooldown")],
)
def test_a_part_of_a_message_is_enough(asked: str, found: str) -> None:
    assert manual.find(asked).id == found


def test_a_typing_error_is_answered_with_the_nearest_id() -> None:
    with pytest.raises(ConfigError) as raised:
        manual.find("client.retry-strom")
    assert "client.retry-storm" in str(raised.value.remedy)
    with pytest.raises(ConfigError):
        manual.find("")


def test_each_sample_explains_itself() -> None:
    for row in running.table():
        assert manual.find(row.sample).id == logs.name_of(row.id) or row.where == "engine"
    for failure in symptoms.table().failures:
        assert manual.find(failure.sample).line


def test_an_explanation_says_what_is_seen_why_and_what_to_type() -> None:
    lines = manual.explain(manual.find("log.kv-too-small"))
    assert lines[0] == "log.kv-too-small (engine)"
    assert any(line.startswith("  because: the window of N tokens needs NEED GiB") for line in lines)
    assert any(line.startswith("  type:    set engines.NAME.max_model_len: EST") for line in lines)


def test_the_command_explains_and_looks_at_nothing() -> None:
    ended = doctor.explain("No connected db")
    assert ended.exit_code == 0
    assert ended.data["id"] == "log.not-master-key"
    assert ended.lines[0] == "log.not-master-key (gateway)"
