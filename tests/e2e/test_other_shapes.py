"""The two other shapes of a stack: clients straight on the engine, and a gateway before an engine that already runs."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fakes import claude, stack, turns
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e
WINDOW = 131072
QUESTION = {"model": stack.ALIAS, "max_tokens": 16, "messages": [{"role": "user", "content": "hi"}]}
KEY = "canary-of-the-attic-77c1"


def task(root: Path) -> Path:
    (root / "work").mkdir()
    file = root / "work" / "hello.py"
    file.write_text(turns.BEFORE)
    return file


def change_it(program: Path, chain: stack.Stack, file: Path) -> None:
    """Real Claude Code does the task with nothing but what `stackctl env` exports."""
    ended = claude.run(
        program, "Change the greeting in hello.py", "--permission-mode", "acceptEdits", home=file.parents[1] / "home",
        cwd=file.parent, env=chain.env(),
    )  # fmt: skip
    assert ended.code == 0, ended.out + ended.err
    assert ended.result["result"] == turns.LAST_WORD
    assert file.read_text() == turns.AFTER
    assert ended.result["modelUsage"][stack.ALIAS]["contextWindow"] == WINDOW


def test_direct_serves_claude_code_from_the_engine_on_the_gateways_port(claude_code: Path, tmp_path: Path) -> None:
    file = task(tmp_path)
    script = turns.edit(str(file))
    with stack.scripted_stack(tmp_path / "stack", script, gateway={"kind": "direct"}, window=WINDOW) as chain:
        assert "direct: vLLM answers by itself, so max_tokens above the window is refused" in chain.said
        assert "there are no routes to hosted models" in chain.said
        (engine,) = chain.status()["services"]
        assert engine["kind"] == "engine"
        assert chain.url == chain.engine_url == f"http://127.0.0.1:{engine['port']}"
        change_it(claude_code, chain, file)
        assert chain.ask("/v1/messages", QUESTION).status == 200
        assert chain.ask("/v1/messages", {**QUESTION, "model": stack.LEGACY_ALIAS}).status == 200
        assert chain.ask("/v1/messages", QUESTION, key="sk-other").status == 401
        assert not (chain.root / "gateway" / "litellm_config.yaml").exists()


def test_an_engine_that_already_runs_is_used_and_left_alone(claude_code: Path, tmp_path: Path) -> None:
    file, port, record = task(tmp_path), free_port(), tmp_path / "record.jsonl"
    (tmp_path / "script.json").write_text(stack.script(turns.edit(str(file))))
    argv = [
        sys.executable, str(stack.ENGINE), "--model", stack.SERVED, "--port", str(port), "--max-model-len", str(WINDOW),
        "--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--fake-record", str(record),
        "--fake-script", str(tmp_path / "script.json"),
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    config = {
        "engines": {"attic": {"url": f"{url}/v1/", "api_key": "env/ATTIC_KEY"}},
        "gateway": {"port": free_port()},
    }
    env = stack.base_env(tmp_path / "engine") | {"VLLM_API_KEY": KEY}
    with stack.running(
        argv, env=env, cwd=tmp_path / "engine", log=tmp_path / "engine.log", health=f"{url}/health", deadline=90
    ) as engine:
        with stack.up(tmp_path / "stack", config, record=record, env={"ATTIC_KEY": KEY}) as chain:
            (gateway,) = chain.status()["services"]
            assert gateway["kind"] == "gateway"
            assert gateway["window"] == WINDOW  # as the engine says
            change_it(claude_code, chain, file)
            assert chain.ask("/v1/chat/completions", {**QUESTION, "model": stack.SERVED}).status == 200
            generated = [each for each in chain.requests() if each["path"] in {"/v1/messages", "/v1/chat/completions"}]
            assert all(each["authorized"] for each in generated)
            for path in chain.home.rglob("*"):
                assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
            assert KEY not in chain.said
        assert engine.poll() is None
        assert stack.ask(f"{url}/health").status == 200


def test_an_engine_elsewhere_that_is_away_takes_only_its_own_route_with_it(gateway_python: str, tmp_path: Path) -> None:
    config = stack.scripted_config(tmp_path, turns.TURNS)
    url = f"http://127.0.0.1:{free_port()}"
    config["engines"]["attic"] = {"url": url, "model": "acme/attic"}
    config["routes"] = {"default": "main", "haiku": "attic"}
    with stack.up(tmp_path, config, record=tmp_path / "record.jsonl") as chain:
        assert "a real token came through the gateway" in chain.said
        assert re.search(rf"route haiku \(attic\): no token: .*does not answer at {url}", chain.said), chain.said
        assert "haiku -> attic (no token at the start: " in chain.stackctl("status").stderr
        assert chain.ask("/v1/messages", QUESTION).status == 200
        away = chain.ask("/v1/messages", {**QUESTION, "model": "claude-local-haiku"})
        assert (away.status, f"does not answer at {url}" in away.json["error"]["message"]) == (503, True), away.raw
        again = chain.stackctl("up", "-d", "--yes", "-c", str(chain.config))
        assert (again.returncode, "already runs" in again.stderr) == (0, True), again.stderr

        argv = [
            sys.executable,
            str(stack.ENGINE),
            "--model",
            "acme/attic",
            "--port",
            url.rpartition(":")[2],
            "--fake-competent",
        ]
        env, place = stack.base_env(tmp_path / "attic"), tmp_path / "attic"
        with stack.running(argv, env=env, cwd=place, log=tmp_path / "attic.log", health=f"{url}/health", deadline=90):
            there = chain.ask("/v1/messages", {**QUESTION, "model": "claude-local-haiku"})
            assert there.status == 200, there.raw
