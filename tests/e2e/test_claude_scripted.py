"""Real Claude Code does a piece of work through the whole chain: the scripted engine asks for tools, LiteLLM carries it."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes import claude, stack

pytestmark = pytest.mark.e2e

BEFORE = "greeting = 'hello'\n"
AFTER = "greeting = 'good morning'\n"


def test_claude_code_edits_a_file_by_a_tool_call(claude_code: Path, gateway_python: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    file = work / "hello.py"
    file.write_text(BEFORE)
    edit = {"file_path": str(file), "old_string": "'hello'", "new_string": "'good morning'"}
    turns: list[dict[str, Any]] = [
        {"when": {"result": "has been updated"}, "reply": [{"text": "The greeting is changed."}]},
        {"when": {"result": "greeting"}, "reply": [{"text": "Now the change."}, {"tool": "Edit", "input": edit}]},
        {
            "when": {"any": "Change the greeting", "has_tool": "Edit", "tool_result": False},
            "reply": [{"text": "I read it first."}, {"tool": "Read", "input": {"file_path": str(file)}}],
        },
    ]
    with stack.scripted_stack(tmp_path / "stack", gateway_python=gateway_python, turns=turns) as chain:
        env = claude.client_env(chain.url, chain.key, stack.ALIAS, window=stack.WINDOW, output_limit=1024)
        ended = claude.run(
            claude_code, "Change the greeting in hello.py", "--permission-mode", "acceptEdits", home=tmp_path / "home",
            cwd=work, env=env,
        )  # fmt: skip
        asked = [each for each in chain.requests() if each["path"] == "/v1/messages"]
    assert ended.code == 0, ended.out + ended.err
    assert file.read_text() == AFTER
    result = ended.result
    assert result["result"] == "The greeting is changed."
    assert result["num_turns"] == 3
    assert result["is_error"] is False
    usage = result["modelUsage"][stack.ALIAS]
    assert usage["contextWindow"] == stack.WINDOW
    assert usage["cacheReadInputTokens"] > 0
    assert {each["body"]["max_tokens"] for each in asked} == {1024}
    # what the engine saw: its own name for the model, its own key, and Claude Code's tools as they were sent
    assert {each["body"]["model"] for each in asked} == {stack.SERVED}
    assert all(each["authorized"] for each in asked)
    print(f"claude edited a file in {ended.seconds:.2f} s and {len(asked)} requests")
