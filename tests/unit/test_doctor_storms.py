"""Retry storms, refusals, cut streams and impatient clients, read from recorded lines and from LiteLLM's own log."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from stackctl.checks import asked, storms
from stackctl.checks.asked import Asked
from stackctl.checks.facts import Facts
from stackctl.config import Flags
from stackctl.model import Status
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Seconds between Claude Code's tries on a 500 (2.1.330): 11 requests over 182 s.
PAUSES = (0.0, 0.6, 1.7, 4.0, 9.0, 18.0, 37.0, 70.0, 108.0, 143.0, 180.0)
DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


def ask(at: float, status: int = 500, request: str = "aa", **more: Any) -> dict[str, Any]:
    """A line of the record, of a client's request `at` seconds after the first."""
    line = {
        "seconds": 0.5,
        "path": "/v1/messages",
        "end": "whole",
        "request": request,
        "agent": "claude-cli/2.1.330 (x)",
    }
    return {"at": at, "status": status, **line, **({"error": DEAD} if status >= 400 else {}), **more}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackPaths:
    """A stack's directories."""
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path))
    paths = StackPaths("default")
    os.makedirs(paths.logs)
    return paths


def facts(
    stack: StackPaths, lines: list[dict[str, Any]], *, ago: float = 200.0, logs: dict[str, str] | None = None
) -> Facts:
    """Facts of a stack that was asked `lines`, the first of them `ago` seconds before now."""
    first = time.time() - ago
    with open(stack.requests, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps({**each, "at": first + each["at"]}) + "\n" for each in lines)
    return Facts(environ={}, home="/", cwd="/", flags=Flags(), static=True, paths=stack, logs=logs or {})


def test_eleven_tries_over_three_minutes_are_one_storm_with_the_error_underneath(stack: StackPaths) -> None:
    (found,) = storms.retries(facts(stack, [ask(at) for at in PAUSES]))
    assert (found.id, found.status, found.blocks) == ("client.retry-storm", Status.WARN, False)
    assert "Claude Code asked the same 11 times over 180 s, in vain" in found.cause
    assert DEAD.rstrip(".") in found.cause
    assert "the engine's core process ended" in found.cause  # what it means
    assert "stackctl logs engine" in found.remedy
    assert len(found.evidence) == 2


def test_requests_that_differ_are_no_storm(stack: StackPaths) -> None:
    assert not list(storms.retries(facts(stack, [ask(at, request=str(at)) for at in PAUSES])))


def test_two_tries_are_no_storm(stack: StackPaths) -> None:
    assert not list(storms.retries(facts(stack, [ask(0), ask(1), ask(2, 200)])))


def test_a_storm_that_ends_well_says_so(stack: StackPaths) -> None:
    (found,) = storms.retries(facts(stack, [*(ask(at) for at in PAUSES[:4]), ask(9, 200)]))
    assert "asked the same 5 times over 10 s, and then succeeded" in found.cause


def test_the_same_request_after_an_answer_begins_anew(stack: StackPaths) -> None:
    lines = [ask(0), ask(1), ask(2, 200), ask(3), ask(4), ask(5, 200)]
    assert not list(storms.retries(facts(stack, lines)))


def test_an_old_incident_is_not_told_any_more(stack: StackPaths) -> None:
    assert not list(storms.retries(facts(stack, [ask(at) for at in PAUSES], ago=storms.RECENT + 300)))


def test_several_storms_are_one_finding_and_the_longest_speaks(stack: StackPaths) -> None:
    lines = [ask(at, request="short") for at in PAUSES[:3]] + [ask(at, request="long") for at in PAUSES]
    (found,) = storms.retries(facts(stack, lines))
    assert "11 times" in found.cause
    assert found.evidence[-1] == "2 requests were repeated like that, 14 in all"


def test_secrets_of_the_machine_are_not_in_a_finding(stack: StackPaths) -> None:
    given = facts(stack, [ask(at, error="the key CANARY-OF-A-KEY is wrong") for at in PAUSES])
    (found,) = storms.retries(dataclasses.replace(given, secrets=frozenset({"CANARY-OF-A-KEY"})))
    assert "CANARY" not in repr(found)


def test_a_refusal_with_a_known_meaning_is_told_with_its_remedy(stack: StackPaths) -> None:
    error = (
        "max_completion_tokens=32000 cannot be greater than max_model_len=16384. Please request fewer output tokens."
    )
    (found,) = storms.refusals(facts(stack, [ask(0, 400, error=error), ask(1, 400, "bb", error=error)]))
    assert found.id == "log.output-over-window"
    assert "32,000" in found.cause
    assert "(seen 2 times)" in found.cause
    assert "stackctl env" in found.remedy


def test_one_slip_after_which_work_went_on_is_not_told(stack: StackPaths) -> None:
    error = "my-model is not a multimodal model"
    assert not list(storms.refusals(facts(stack, [ask(0, 400, error=error), ask(5, 200, "bb")])))
    assert list(storms.refusals(facts(stack, [ask(0, 400, error=error)])))


def test_streams_without_an_end_are_told(stack: StackPaths) -> None:
    (found,) = storms.cut(facts(stack, [ask(0, 200, end="cut"), ask(5, 200)]))
    assert found.id == "client.stream-cut"
    assert not list(storms.cut(facts(stack, [ask(0, 200), ask(5, 200, end="left")])))


def test_a_client_that_always_leaves_after_the_same_time_has_a_time_limit(stack: StackPaths) -> None:
    gone = [ask(at, 0, str(at), end="left", seconds=60.0 + at / 100) for at in (0, 70, 140)]
    (found,) = storms.left(facts(stack, gone))
    assert "after 60 s each time" in found.cause
    by_hand = [ask(at, 200, str(at), end="left", seconds=seconds) for at, seconds in ((0, 8.0), (20, 31.0), (60, 14.0))]
    assert not list(storms.left(facts(stack, by_hand)))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            'litellm.InternalServerError: AnthropicException - {"error": {"message": "its own words"}}. Handle with `litellm.x`.',
            "its own words",
        ),
        ("litellm.InternalServerError: Hosted_vllmException - Connection error. LiteLLM: model group 'm' failed", "Connection error"),
        ("stackctl: the engine `engine` is restarting; ask again in a moment", "stackctl: the engine `engine` is restarting; ask again in a moment"),
    ],
)  # fmt: skip
def test_the_engines_words_are_taken_out_of_litellms(error: str, words: str) -> None:
    assert Asked(0, 0, "/v1/messages", 500, "whole", "aa", "", error).words == words


def test_a_missing_record_says_nothing(stack: StackPaths) -> None:
    given = Facts(environ={}, home="/", cwd="/", flags=Flags(), static=True, paths=stack)
    assert not [finding for check in storms.CHECKS for finding in check.run(given)]


# Of a LiteLLM 1.106.2 in front of an engine that answers 500, asked by Claude Code.
LOG = """\
INFO:     Started server process [3200]
LiteLLM: Proxy initialized with Config, Set models:
INFO:     Uvicorn running on http://127.0.0.1:4000 (Press CTRL+C to quit)
INFO:     127.0.0.1:49316 - "GET /health/liveliness HTTP/1.1" 200 OK
INFO:     127.0.0.1:49318 - "POST /v1/messages?beta=true HTTP/1.1" 200 OK
"""
FAILURE = """\
{clock} - LiteLLM Proxy:ERROR: common_request_processing.py:1689 - litellm.proxy.proxy_server._handle_llm_api_exception(): Exception occured - litellm_call_id=3f0a - litellm.InternalServerError: AnthropicException - EngineCore encountered an issue.
Traceback (most recent call last):
  File "x.py", line 1, in y
INFO:     127.0.0.1:49320 - "POST /v1/messages?beta=true HTTP/1.1" 500 Internal Server Error
"""  # fmt: skip


def by_hand(times: Sequence[str]) -> str:
    return LOG + "".join(FAILURE.format(clock=each) for each in times)


def test_the_log_of_a_litellm_made_by_hand_shows_a_storm_too(stack: StackPaths) -> None:
    given = facts(stack, [], logs={"/x/litellm.log": by_hand(["20:10:00", *["20:10:09"] * 6, "20:13:00"])})
    (found,) = storms.retries(given)
    assert "asked the same 8 times over 180 s, in vain" in found.cause
    assert "EngineCore encountered an issue" in found.cause


def test_a_few_failures_in_such_a_log_are_no_storm(stack: StackPaths) -> None:
    assert not list(storms.retries(facts(stack, [], logs={"/x/litellm.log": by_hand(("20:10:00", "20:10:02"))})))


def test_a_success_in_between_ends_a_storm_in_such_a_log(stack: StackPaths) -> None:
    answered = 'INFO:     127.0.0.1:49318 - "POST /v1/messages?beta=true HTTP/1.1" 200 OK\n'
    five = by_hand(["20:10:00"] * 5)
    log = five + answered + five.removeprefix(LOG)
    assert [each.status for each in asked.from_log(log)] == [200, *[500] * 5, 200, *[500] * 5]
    assert not list(storms.retries(facts(stack, [], logs={"/x/litellm.log": log})))


def test_the_log_of_a_vllm_that_clients_ask_themselves_shows_a_storm(stack: StackPaths) -> None:
    line = 'INFO:     127.0.0.1:49320 - "POST /v1/messages?beta=true HTTP/1.1" 400 Bad Request\n'
    clock = (
        "(APIServer pid=7) INFO 11-25 20:{:02}:00 [loggers.py:335] Engine 000: Avg prompt throughput: 1.0 tokens/s\n"
    )
    log = "".join(clock.format(minute) + line for minute in range(8))
    (found,) = storms.retries(facts(stack, [], logs={"/x/vllm.log": log}))
    assert "asked the same 8 times over 420 s, in vain" in found.cause
    assert "HTTP 400" in found.cause
