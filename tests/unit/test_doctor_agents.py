"""Doctor on the files of other agents: what points at the stack and cannot use it is named, and nothing else."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import plan
from stackctl.checks import client as client_checks
from stackctl.checks import facts, runner
from stackctl.config import Flags
from stackctl.model import ClientFacts, Status
from stackctl.paths import StackPaths
from stackctl.planning import Prepared
from stackctl.ports import Ports
from stackctl.runstate import StackState
from tests.fakes import machines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KEY = "sk-stackctl-right-key"
CODEX, OPENCODE, QWEN = ".codex/config.toml", ".config/opencode/opencode.json", ".qwen/settings.json"


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def said(home: Path, port: int, environ: Mapping[str, str] | None = None, *, direct: bool = False) -> list[str]:
    """What is said of other agents to a user with this home whose stack listens on `port`."""
    prepared = None
    if direct:
        file = home / "direct.json"
        file.write_text('{"gateway": {"kind": "direct"}}')
        given = machines.inputs(Flags(config=str(file)), machines.CPU)
        prepared = Prepared(given.loaded, machines.CPU, StackPaths("default"), Ports({}, port), plan.build(given))
    url = f"http://127.0.0.1:{port}"
    state = StackState("default", "digest", url, None)
    state.client = ClientFacts(url, "claude-local", "qwen", 32768, 8192)
    seen = facts.Facts(
        environ={"HOME": str(home), "PATH": "", **(environ or {})}, home=str(home), cwd=str(home / "project"),
        flags=Flags(), static=True, state=state, running=True, client_key=KEY,
        prepared=prepared,
    )  # fmt: skip
    found = runner.run(client_checks.CHECKS, seen, budget=30)
    assert {each.id for each in found if each.status in {Status.WARN, Status.FAIL}} <= {"client.other-agent"}
    return [each.evidence[0].removeprefix(f"{home}/") for each in found if each.status is Status.WARN]


def write(home: Path, name: str, content: Any) -> None:
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_text(content if isinstance(content, str) else json.dumps(content))


def codex(url: str, *, model: str = "claude-local", wire: str = "responses", variable: str = "") -> str:
    named = f'env_key = "{variable}"\n' if variable else ""
    return f'model = "{model}"\nmodel_provider = "mine"\n[model_providers.mine]\nbase_url = "{url}"\nwire_api = "{wire}"\n{named}'


def opencode(url: str, key: str = KEY, model: str = "claude-local") -> dict[str, Any]:
    row = {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": url, "apiKey": key}, "models": {model: {}}}
    return {"provider": {"mine": row}, "model": f"mine/{model}"}


def test_codex_that_cannot_use_the_stack_is_named(tmp_path: Path, port: int) -> None:
    url = f"http://127.0.0.1:{port}/v1"
    for text, expected in (
        (codex("http://127.0.0.1:9/v1"), "where nobody listens"),
        (codex(url, wire="chat"), "has given up"),
        (codex(url, variable="MY_KEY"), "$MY_KEY, which is not set"),
        (codex(url) + "broken = [\n", "does not start with that"),
    ):
        write(tmp_path, CODEX, text)
        (found,) = said(tmp_path, port)
        assert found.startswith(CODEX)
        assert expected in found
    write(tmp_path, CODEX, codex(url, variable="MY_KEY"))
    assert "another key" in said(tmp_path, port, {"MY_KEY": "sk-other"})[0]
    assert said(tmp_path, port, {"MY_KEY": KEY}) == []


def test_opencode_that_cannot_use_the_stack_is_named(tmp_path: Path, port: int) -> None:
    url = f"http://127.0.0.1:{port}/v1"
    for content, expected in (
        (opencode("http://127.0.0.1:9/v1"), "where nobody listens"),
        (opencode(url, "sk-other"), "another key"),
        (opencode(url, "{env:MY_KEY}"), "$MY_KEY, which is not set"),
    ):
        write(tmp_path, OPENCODE, content)
        (found,) = said(tmp_path, port)
        assert expected in found
        assert "sk-other" not in found
    write(tmp_path, OPENCODE, opencode(url))
    assert said(tmp_path, port) == []


def test_qwen_code_that_goes_elsewhere_is_named(tmp_path: Path, port: int) -> None:
    url = f"http://127.0.0.1:{port}/v1"
    shell = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY, "OPENAI_MODEL": "qwen"}
    write(tmp_path, QWEN, {"security": {"auth": {"selectedType": "qwen-oauth"}}})
    assert "qwen-oauth" in said(tmp_path, port, shell)[0]
    assert said(tmp_path, port) == []
    write(tmp_path, QWEN, {"security": {"auth": {"selectedType": "openai"}}})
    assert said(tmp_path, port, shell) == []
    write(tmp_path, ".qwen/.env", f"OPENAI_BASE_URL=http://127.0.0.1:9/v1\nOPENAI_API_KEY={KEY}\n")
    assert "where nobody listens" in said(tmp_path, port)[0]


@pytest.mark.parametrize(
    ("model", "settings", "variable", "tokens"),
    [
        ("claude-local", {}, "", "64,000"),
        ("qwen3.6-35b", {}, "", "64,000"),
        ("qwen", {}, "", ""),
        ("smollm2", {}, "", ""),
        ("claude-local", {}, "8192", ""),
        ("qwen", {}, "40000", "40,000"),
        ("claude-local", {"model": {"generationConfig": {"samplingParams": {"max_tokens": 8192}}}}, "", ""),
        ("claude-local", {"model": {"generationConfig": {"samplingParams": {"temperature": 0}}}}, "", ""),
        ("qwen", {"model": {"generationConfig": {"samplingParams": {"max_tokens": 40000}}}}, "", "40,000"),
    ],
)
def test_qwen_code_that_asks_vllm_for_more_than_its_window_is_named(
    tmp_path: Path, port: int, model: str, settings: dict[str, Any], variable: str, tokens: str
) -> None:
    shell = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": KEY, "OPENAI_MODEL": model}
    shell |= {"QWEN_CODE_MAX_OUTPUT_TOKENS": variable} if variable else {}
    write(tmp_path, QWEN, {"security": {"auth": {"selectedType": "openai"}}, **settings})
    found = said(tmp_path, port, shell, direct=True)
    assert [tokens in each for each in found] == ([True] if tokens else [])
    assert said(tmp_path, port, shell) == []  # LiteLLM clamps it


def test_what_is_none_of_the_stacks_business_is_left_alone(tmp_path: Path, port: int) -> None:
    write(tmp_path, CODEX, codex("http://127.0.0.1:9/v1", model="gpt-oss:20b"))
    write(tmp_path, OPENCODE, opencode("http://127.0.0.1:9/v1", "lm-studio", "gemma") | {"theme": "dark"})
    write(tmp_path, QWEN, {"security": {"auth": {"selectedType": "qwen-oauth"}}})
    write(tmp_path, "project/.env", "OPENAI_BASE_URL=http://127.0.0.1:9/v1\nOPENAI_API_KEY=sk-x\n")
    assert said(tmp_path, port) == []
    write(tmp_path, CODEX, 'model = "gpt-5"\n[model_providers.other]\nbase_url = "http://127.0.0.1:9/v1"\n')
    write(tmp_path, OPENCODE, '// mine\n{"model": "anthropic/claude-sonnet-5",}\n')
    write(tmp_path, QWEN, "[]")
    assert said(tmp_path, port) == []
