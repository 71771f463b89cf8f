"""The report for a bug report: what is needed, and none of the canaries."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from stackctl import redact
from stackctl.checks import bundle, facts, logtail
from stackctl.config import Flags
from stackctl.model import Finding, ServiceKind, Status
from stackctl.paths import StackPaths
from tests.fakes import machines

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-stackctl-canary0123456789abcdef0123456789abcdef"
PLAIN = "canary-of-a-password"  # what no pattern knows, only its name
PROMPT = "CANARY PROMPT please refactor my payment module"
CODE = "def canary_function(customer_ledger): return customer_ledger.total"
LOG = f"""INFO 11-25 20:00:00 [api_server.py:1] vLLM server version 0.32.0
INFO 11-25 20:00:01 [logger.py:39] Received request chatcmpl-1: prompt: '{PROMPT}', params: SamplingParams(n=1)
{CODE}
    {CODE}
user: {PROMPT}
ERROR 11-25 20:00:02 [core.py:9] ValueError: bad input {{"messages": [{{"role": "user", "content": "{PROMPT}"}}]}}
ERROR 11-25 20:00:02 [core.py:9] something about '{CODE}'
ValidationError: input_value='{PROMPT}'
  File "/opt/vllm/core.py", line 1, in run
    {CODE}
INFO 11-25 20:00:03 [loggers.py:1] Avg prompt throughput: 0.0 tokens/s, Running: 0 reqs
INFO 11-25 20:00:04 [x.py:1] Authorization: Bearer {KEY}
RuntimeError: CUDA out of memory
"""


def seen(tmp_path: Path, **more: object) -> facts.Facts:
    given = {
        "environ": {"ANTHROPIC_AUTH_TOKEN": KEY, "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "32768", "MY_OWN": PLAIN, "HF_TOKEN": PLAIN},
        "home": str(tmp_path), "cwd": "/", "flags": Flags(), "static": True, "logs": {"engine": LOG}, "secrets": frozenset({KEY, PLAIN}),
    }  # fmt: skip
    return facts.Facts(**(given | more))  # type: ignore[arg-type]


def test_no_canary_is_in_it_and_the_cause_is(tmp_path: Path) -> None:
    found = Finding("engine.died", Status.FAIL, f"{tmp_path}/x died", (f"key {KEY}", f"content: {PROMPT}"))
    text = bundle.text(seen(tmp_path), [found], "the engine is down")
    for canary in (KEY, PLAIN, "CANARY PROMPT", "canary_function", "customer_ledger", str(tmp_path)):
        assert canary not in text
    for wanted in (
        "verdict: the engine is down", "engine.died: ~/x died", "vLLM server version 0.32.0", "CUDA out of memory",
        "Avg prompt throughput: 0.0", 'File "/opt/vllm/core.py", line 1', 'CLAUDE_CODE_MAX_CONTEXT_TOKENS="32768"', "ANTHROPIC_AUTH_TOKEN=(set)",
        "HF_TOKEN=(set)", "stackctl 0",
    ):  # fmt: skip
        assert wanted in text, text


def test_a_hand_written_file_is_shown_without_its_keys(tmp_path: Path) -> None:
    config = {
        "model_list": [{"model_name": "a", "litellm_params": {"model": "anthropic/x", "api_key": PLAIN, "api_base": "http://h:1"}}],
        "command": ["serve", "--api-key", PLAIN, f"--hf-token={PLAIN}", "--max-tokens", "5"],
        "general_settings": {"master_key": "os.environ/MASTER", "database_url": f"postgres://u:{PLAIN}@h/db"},
    }  # fmt: skip
    text = bundle.text(seen(tmp_path, hand_config=config, secrets=frozenset(), logs={}), [], "x")
    assert PLAIN not in text
    assert "os.environ/MASTER" in text
    assert "http://h:1" in text
    assert "--hf-token=<redacted>" in text
    assert "serve\n  - --api-key\n  - <redacted>" in text or "serve\n- --api-key\n- <redacted>" in text


def test_what_is_wrong_comes_first_then_the_requests_without_what_they_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    paths = StackPaths("default")
    os.makedirs(paths.logs)
    row = {
        "at": 1795652380.0,
        "seconds": 181.5,
        "path": "/v1/messages?beta=true",
        "status": 500,
        "end": "whole",
        "request": "0f",
        "agent": "claude-cli/2",
    }
    with open(paths.requests, "w", encoding="utf-8") as stream:
        stream.write(json.dumps({**row, "error": PROMPT}) + "\n")
    log = 'INFO:     127.0.0.1:1 - "GET /health HTTP/1.1" 200 OK\nINFO:     127.0.0.1:1 - "GET /health HTTP/1.1" 503\n'
    found = [
        Finding("machine.gpu", Status.OK, hop="machine"),
        Finding("answers@engine:main", Status.SKIPPED, "needs engine.process", hop="engine"),
        Finding("client.cache", Status.WARN, "slow", hop="client"),
        Finding("engine.died", Status.FAIL, "it died", hop="engine"),
    ]
    text = bundle.text(seen(tmp_path, paths=paths, logs={"engine": log}), found, "it died")
    wrong = text[text.index("## Findings") : text.index("## Services")]
    assert wrong.index("engine.died: it died") < wrong.index("client.cache: slow") < wrong.index("ok      machine.gpu")
    assert "skipped answers@engine:main" in wrong
    assert "/v1/messages -> 500, whole, 181.5 s, Claude Code" in text
    assert "CANARY" not in text
    assert ('HTTP/1.1" 503' in text, 'HTTP/1.1" 200' in text) == (True, False)


def test_the_machine_is_told_as_far_as_it_decides_what_runs(tmp_path: Path) -> None:
    text = bundle.text(seen(tmp_path, host=machines.host("container_24"), logs={}), [], "x")
    assert "in a container (docker), memory limited by a control group" in text
    assert "processor with avx2" in text


SERVED = """\
(APIServer pid=3) INFO 11-26 06:59:00 [api_utils.py:347]  version 0.32.0
(APIServer pid=3) WARNING 11-26 06:59:01 [x.py:1] a word of the start
(APIServer pid=3) INFO:     Application startup complete.
INFO:     10.0.0.7:55555 - "POST /v1/messages?beta=true&key=zqx HTTP/1.1" 500
INFO:     10.0.0.7:55555 - "POST /v1/zqx HTTP/1.1" 200 OK
INFO 11-26 07:00:00 [engine.py:39] generated text: def zqx(): return 1
INFO 11-26 07:00:00 [x.py:1] user said hello zqx
ERROR 11-26 07:00:00 [serving.py:39] Error in parsing tool call: <function=Bash><parameter=command>cat zqx</parameter></function>
ERROR 11-26 07:00:00 [qwen3_tool_parser.py:39] Error trying to handle streaming tool call. zqx
Traceback (most recent call last):
  File "/opt/vllm/serving.py", line 3, in create
    token = "zqx"
ValueError: invalid literal for int() with base 10: 'zqx'
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0): zqx and more of it
jinja2.exceptions.TemplateError: Conversation roles must alternate, got zqx
07:00:00 - LiteLLM:ERROR: router.py:1 - raw request: zqx 'text'
ERROR 11-26 07:00:00 [x.py:1] Invalid image url: https://internal.corp/zqx.png?sig=zqx
ERROR 11-26 07:00:00 [x.py:2] rm -rf zqx
ERROR 11-26 07:00:00 [x.py:2] rm -rf zqx again
(EngineCore pid=3) ERROR 11-26 07:00:00 [core.py:1] EngineDeadError: EngineCore encountered an issue. See stack trace (above)
"""


def test_of_what_is_said_to_clients_only_known_words_places_and_names_are_kept() -> None:
    shown = "\n".join(logtail.shown(ServiceKind.ENGINE, SERVED, str))
    assert "zqx" not in shown
    for wanted in (
        "a word of the start", '"POST /v1/messages HTTP/1.1" 500', "Error trying to handle streaming tool call", "json.decoder.JSONDecodeError: (left out",
        'File "/opt/vllm/serving.py", line 3, in create', "ValueError: (left out", "[engine.py:39] (left out", "router.py:1 - (left out", "EngineCore encountered an issue",
        "[x.py:2] (left out: it may hold what was asked) (2 times)",
    ):  # fmt: skip
        assert wanted in shown, shown
    assert "zqx" not in logtail.noticed("ERROR 11-26 07:00:00 [x.py:3] Error trying to handle streaming tool call. zqx")
    # the end of a log whose start is not in it, and what an earlier run served
    ends = (SERVED[SERVED.index("INFO:     10") :], SERVED + SERVED[: SERVED.index("INFO:     10")])
    assert all("zqx" not in "".join(logtail.shown(ServiceKind.ENGINE, each, str)) for each in ends)


@pytest.mark.parametrize(
    "line",
    [
        "db password: canary-of-mine", "{'secret': 'canary-of-mine'}", "HF token=canary-of-mine", "AKIACANARY0CANARY0CA", "ghp_canary0123456789canary",
        "xoxb-canary-canary-canary", "eyJcanary0123.canary0123.canary0123", "glpat-canary0123456789", "https://user:canary-of-mine@h/x",
    ],
)  # fmt: skip
def test_a_secret_is_known_by_its_form_or_its_name(line: str) -> None:
    assert "canary" not in redact.cleaner(())(line).lower()


def test_a_tokenizers_marks_and_counts_are_no_secrets() -> None:
    for line in (
        "pad_token='<|endoftext|>'",
        "max_tokens: 131072000",
        "eos_token_id: 151645000",
        "3 tokens: abcdefghi",
    ):
        assert redact.cleaner(())(line) == line
