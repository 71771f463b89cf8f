"""What is said while a stack serves: each row by its own sample, against every other row and against healthy logs."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from stackctl.catalog import running

LOGS = Path(__file__).parent / "logs"
ROWS = running.table()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_row_finds_exactly_its_own_sample(row: running.Row) -> None:
    found = running.noticed(row.where, row.sample)
    assert [each.id for each in found] == [row.id]
    assert found[0].line in row.sample


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_cause_and_remedy_is_whole(row: running.Row) -> None:
    found = running.meaning(row.where, row.sample, engine="coder")
    assert found is not None
    for text in (found.cause, found.remedy, row.symptom):
        assert text
        assert "\n" not in text
        assert "  " not in text
        assert "NAME." not in text
        assert not re.search(r"\{[a-z_]+(:,)?\}", text), text
    assert not found.cause.endswith(".")
    assert row.source


def test_ids_are_unique_and_none_is_also_a_start_symptoms() -> None:
    ids = [row.id for row in ROWS]
    assert len(ids) == len(set(ids))
    assert not any("_" in each for each in ids)  # those of symptoms/*.yaml have them


def test_a_meaning_is_told_once_with_its_last_line_and_how_often() -> None:
    sample = next(row.sample for row in ROWS if row.id == "output-over-window")
    text = "\n".join([sample, "INFO: all is well", sample.replace("32000", "64000")])
    (found,) = running.noticed("gateway", text)
    assert found.count == 2
    assert "64,000" in found.cause
    assert found.line.startswith("max_completion_tokens=64000 ")


def test_only_the_last_run_counts() -> None:
    sample = next(row.sample for row in ROWS if row.id == "system-merged")
    start = "(APIServer pid=6) INFO 11-23 19:28:32 [utils.py:1] vLLM server version 0.32.0, serving model m"
    assert running.noticed("engine", f"{start}\n{sample}")
    assert not running.noticed("engine", f"{start}\n{sample}\n{start}")


@pytest.mark.parametrize("name", ["engine-start", "engine-sigterm", "gateway-start"])
def test_a_healthy_log_says_nothing(name: str) -> None:
    where: running.Where = "engine" if name.startswith("engine") else "gateway"
    assert not running.noticed(where, (LOGS / f"{name}.log").read_text(encoding="utf-8"))


def test_colours_do_not_hide_a_meaning_and_nonsense_has_none() -> None:
    found = running.meaning("gateway", "\x1b[31mNo connected\x1b[0m db.")
    assert found is not None
    assert found.id == "not-master-key"
    assert running.meaning("gateway", "all is well") is None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_hostile_text_does_not_make_a_pattern_slow(row: running.Row) -> None:
    pattern = re.compile(row.pattern, re.MULTILINE)
    for unit in (row.sample[: len(row.sample) // 2], row.sample[:60] + "x" * 1900 + "\n"):
        text = "\n".join(line[:2048] for line in (unit * (65536 // len(unit) + 1)).splitlines())
        began = time.process_time()
        assert sum(1 for _ in pattern.finditer(text)) >= 0
        assert time.process_time() - began < 1  # 0.01 s measured
