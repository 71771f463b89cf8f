"""Real Claude Code asks again and again behind real LiteLLM while the engine fails: doctor says so, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes import claude, stack
from tests.fakes.home import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("gateway_python")]

WORDS = "the engine's own words"
REFUSED = "max_completion_tokens=32000 cannot be greater than max_model_len=16384. Please request fewer output tokens."
SECRET = "CANARY-in-a-prompt"
TURNS: list[dict[str, Any]] = [
    {"when": {"last": "fail-always"}, "reply": [{"status": 500, "error": WORDS}]},
    {"when": {"last": "too-long"}, "reply": [{"status": 400, "type": "BadRequestError", "error": REFUSED}]},
    {"when": {"last": "cut-here"}, "reply": [{"text": "This stream ends"}, {"silence": 1.0}, {"cut": True}]},
]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of this file's own: what others asked would stand in its record too."""
    with stack.scripted_stack(tmp_path_factory.mktemp("retries"), TURNS, window=131072) as found:
        yield found


def findings(chain: Stack) -> dict[str, dict[str, Any]]:
    """Doctor's findings that are not fine, by id."""
    done = chain.stackctl("doctor", "--static", "--json")
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)["data"]["findings"]
    return {each["id"]: each for each in found if each["status"] in {"warn", "fail"}}


def test_a_stack_that_nobody_asked_anything_has_nothing_to_tell(chain: Stack) -> None:
    assert not {each for each in findings(chain) if each.startswith(("client.", "log."))}


def test_retries_of_claude_code_are_counted_and_the_error_underneath_is_named(
    chain: Stack, claude_code: Path, tmp_path: Path
) -> None:
    ended = claude.run(
        claude_code, f"fail-always {SECRET}", home=tmp_path / "home", cwd=tmp_path / "work",
        env={**chain.env(), "CLAUDE_CODE_MAX_RETRIES": "3"},
    )  # fmt: skip
    assert ended.code != 0
    found = findings(chain)["client.retry-storm"]
    assert found["cause"].startswith("Claude Code asked the same 4 times over ")
    assert WORDS in found["cause"]
    assert found["hop"] == "client"
    record = (chain.root / "logs" / "requests.jsonl").read_text()
    assert SECRET not in record
    assert chain.key not in record
    print(f"doctor: {found['cause']}")


def test_a_refusal_is_told_with_what_it_means(chain: Stack) -> None:
    body = {"model": stack.ALIAS, "max_tokens": 64, "messages": [{"role": "user", "content": "too-long"}]}
    record = chain.root / "logs" / "requests.jsonl"
    for _ in range(2):
        assert chain.ask("/v1/messages", body).status == 400
    until(lambda: record.read_text().count('"status":400') == 2, 20, "the requests are noted")
    found = findings(chain)["log.output-over-window"]
    assert "32,000" in found["cause"]
    assert "stackctl env" in found["remedy"]


def test_a_stream_without_an_end_is_told(chain: Stack) -> None:
    body = {
        "model": stack.ALIAS,
        "max_tokens": 64,
        "stream": True,
        "messages": [{"role": "user", "content": "cut-here"}],
    }
    answer = chain.ask("/v1/messages", body)
    assert b"message_stop" not in answer.raw
    record = chain.root / "logs" / "requests.jsonl"
    until(lambda: '"end":"cut"' in record.read_text(), 20, "the request is noted")
    assert "client.stream-cut" in findings(chain)
