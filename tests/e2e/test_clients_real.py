"""Real clients on the real vLLM, by `launch`. The embedded model talks nonsense, so the exchange counts, not the words."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes import clients

if TYPE_CHECKING:
    from tests.fakes import stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
STACKCTL = Path(sys.executable).with_name("stackctl")


def launch(chain: stack.Stack, row: clients.Row, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    home.mkdir()
    env = {
        "PATH": clients.path_of(row), "HOME": str(home), "STACKCTL_HOME": str(chain.home), "DISABLE_AUTOUPDATER": "1", "TERM": "dumb",
    }  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(
        [str(STACKCTL), "launch", row.name, "--", *arguments],
        env=env, cwd=home, capture_output=True, text=True, timeout=400, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    print(f"{row.id} on the real vLLM: {time.monotonic() - began:.1f} s, exit code {done.returncode}")
    return done


def test_claude_code(real_stack: stack.Stack, tmp_path: Path) -> None:
    done = launch(real_stack, clients.ROWS[0], tmp_path / "home", "-p", "Say hello.", "--output-format", "json")
    result = json.loads(done.stdout)
    # it rambles up to the output limit; Claude Code calls that its only error. Anything else would be one of ours.
    assert result["api_error_status"] is None, done.stdout + done.stderr
    assert (done.returncode, result.get("api_error")) in {(0, None), (1, "max_output_tokens")}, (
        done.stdout + done.stderr
    )
    (name,) = result["modelUsage"]
    usage = result["modelUsage"][name]
    assert (name, usage["contextWindow"]) == ("claude-local", 32768)
    assert usage["inputTokens"] + usage["cacheReadInputTokens"] + usage["cacheCreationInputTokens"] > 1000


def test_codex_with_its_own_kinds_of_tools(real_stack: stack.Stack, tmp_path: Path) -> None:
    """vLLM takes its `namespace` tools; the scripted engine takes everything."""
    (row,) = (each for each in clients.ROWS if each.name == "codex")
    done = launch(real_stack, row, tmp_path / "home", "exec", "--skip-git-repo-check", "Say hello.")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "warning: Model metadata" not in done.stderr
