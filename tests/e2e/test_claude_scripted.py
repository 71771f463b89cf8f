"""Real Claude Code does a piece of work through the whole chain: the scripted engine asks for tools, LiteLLM carries it."""

from pathlib import Path

import pytest

from tests.fakes import claude, stack, turns

pytestmark = pytest.mark.e2e

WINDOW = 131072  # Claude Code compacts a conversation in 32k after two tool calls: its first request alone has 7.6k


def test_claude_code_edits_a_file_by_a_tool_call(claude_code: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    file = work / "hello.py"
    file.write_text(turns.BEFORE)
    with stack.scripted_stack(tmp_path / "stack", turns.edit(str(file)), window=WINDOW) as chain:
        before = len(chain.requests())
        ended = claude.run(
            claude_code, "Change the greeting in hello.py", "--permission-mode", "acceptEdits", home=tmp_path / "home",
            cwd=work, env=chain.env(),
        )  # fmt: skip
        asked = [each for each in chain.requests()[before:] if each["path"] == "/v1/messages"]
    assert ended.code == 0, ended.out + ended.err
    assert file.read_text() == turns.AFTER
    result = ended.result
    assert result["result"] == turns.LAST_WORD
    assert result["num_turns"] == 3
    assert result["is_error"] is False
    usage = result["modelUsage"][stack.ALIAS]
    assert usage["contextWindow"] == WINDOW
    assert usage["cacheReadInputTokens"] > 0
    assert {each["body"]["max_tokens"] for each in asked} == {32000}
    # what the engine saw: its own name for the model, its own key, and Claude Code's tools as they were sent
    assert {each["body"]["model"] for each in asked} == {stack.SERVED}
    assert all(each["authorized"] for each in asked)
    print(f"claude edited a file in {ended.seconds:.2f} s and {len(asked)} requests")
