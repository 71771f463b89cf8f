"""Every failure that is known to happen becomes a finding, and every finding named for it exists."""

from __future__ import annotations

from stackctl.catalog import known, running, symptoms
from stackctl.checks import answers, logs

ROWS = known.table()

# The five symptoms of the published guides, 48 failures of the chain, and the ways in which vLLM does not start.
GUIDE = {f"guide/{number}" for number in range(1, 6)}
ISSUES = {f"issue/{number}" for number in range(1, 49)}
STARTUP = {
    "startup/arch",
    "startup/autofit_fail",
    "startup/bad_flag",
    "startup/bf16",
    "startup/cuda_driver",
    "startup/dist_name",
    "startup/engine_died",
    "startup/gated",
    "startup/gguf_no_plugin",
    "startup/gpu_busy",
    "startup/kv_too_small",
    "startup/maxlen_gt_model",
    "startup/model_not_found",
    "startup/no_device",
    "startup/no_kv",
    "startup/offline",
    "startup/oom_generic",
    "startup/oom_load",
    "startup/parser_tokenizer",
    "startup/port_in_use",
    "startup/quant_gpu",
    "startup/quant_mismatch",
    "startup/quant_unknown",
    "startup/ready_timeout",
    "startup/reasoning_unknown",
    "startup/template_missing_runtime",
    "startup/template_path",
    "startup/tool_parser_missing",
    "startup/tool_parser_unknown",
    "startup/torchvision_abi",
    "startup/tp_gt_gpus",
    "startup/trust_remote",
}


def known_findings() -> set[str]:
    """The ids of all findings that have a text."""
    read = [*(row.id for row in symptoms.table().failures), *(row.id for row in running.table())]
    return {*answers.table(), *map(logs.name_of, read)}


def test_every_known_failure_is_covered_and_none_is_listed_twice() -> None:
    rows = [row.row for row in ROWS]
    assert len(rows) == len(set(rows))
    assert set(rows) == GUIDE | ISSUES | STARTUP
    assert len(STARTUP) == 32


def test_every_failure_is_found_by_findings_that_exist() -> None:
    missing = {each for row in ROWS for each in row.found_by if each not in known_findings()}
    assert not missing
    assert all(row.found_by for row in ROWS)


def test_a_failure_at_the_start_is_found_by_a_line_of_the_log() -> None:
    assert all(row.found_by[0].startswith("log.") for row in ROWS if row.row.startswith("startup/"))


def test_every_row_says_what_people_see_and_where_it_was_seen() -> None:
    assert all(row.source for row in ROWS)
    assert all(row.about or row.row.startswith("startup/") for row in ROWS)
    assert {row.row for row in ROWS[:5]} == GUIDE  # the documentation begins with them


def test_no_message_of_a_client_or_a_request_is_left_without_a_known_failure() -> None:
    named = {each for row in ROWS for each in row.found_by}
    left = {logs.name_of(row.id) for row in running.table() if logs.name_of(row.id) not in named}
    assert left == {"log.output-limit", "log.preemptions", "log.engine-broke"}  # beyond what the lists know
