"""The live probes before a scripted engine that is ill in one way: the right cause, and no other one."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from stackctl.checks import facts as gathered
from stackctl.checks import live, runner
from stackctl.config import Flags
from stackctl.model import Status
from tests.fakes import stack
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

pytestmark = pytest.mark.drill

KEY = "sk-the-right-one"
FAULTS = {
    "tools=hermes": "behaviour.markup",
    "tools=xml": "behaviour.markup",
    "tools=mistral": "behaviour.markup",
    "tools=llama3": "behaviour.markup",
    "tools=pythonic": "behaviour.markup",
    "tools=json": "behaviour.json",
    "tools=none": "behaviour.prose",
    "tools=empty": "behaviour.arguments",
    "tools=broken": "behaviour.arguments",
    "tools=thinking": "behaviour.call-in-thinking",
    "tools=wrong": "behaviour.tool-name",
    "think-open": "behaviour.thinking-in-text",
    "gibberish": "behaviour.gibberish",
    "leak": "behaviour.end-token",
    "no-stop": "engine.cut",
    "cut=3": "engine.cut",
    "start=twice": "behaviour.blocks",
    "blocks=mixed": "behaviour.blocks",
    "burst": "engine.buffers",
    "plain": "engine.no-stream",
    "usage=zero": "engine.no-usage",
    "system-first": "behaviour.inline-system",
    "no-thinking-blocks": "behaviour.thinking-history",
    "strict": "client.field-refused",
    "bare": "engine.no-template",
    "no-auto": "engine.tools-off",
    "too-many": "engine.parallel-fails",
    "serial": "engine.serial",
    "no-messages": "engine.no-messages",
    "count=404": "engine.no-count",
    "key=open": "engine.any-key",
    "key=reject": "engine.key",
    "health=503": "engine.core-dead",
    "no-cache": "engine.prefix-cache",
    "deaf": "engine.not-freed",
    "refuse": "engine.error",
    "page": "gateway.not-http",
    "redirect": "gateway.redirect",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A scripted engine with a model that can use tools; its address and pid."""
    root = tmp_path_factory.mktemp("engine")
    port = free_port()
    argv = [sys.executable, str(stack.ENGINE), "--port", str(port), "--model", "some/model", "--fake-competent"]
    argv += [
        "--fake-control",
        "--enable-auto-tool-choice",
        "--tool-call-parser",
        "granite",
        "--reasoning-parser",
        "qwen3",
    ]
    env = {**stack.base_env(root), "VLLM_API_KEY": KEY}
    url = f"http://127.0.0.1:{port}"
    with stack.running(argv, env=env, cwd=root, log=root / "log", health=f"{url}/health", deadline=60) as process:
        yield url, process.pid


@pytest.fixture
def url(engine: tuple[str, int]) -> Iterator[str]:
    yield engine[0]
    make(engine[0])


def make(url: str, *faults: str) -> None:
    assert stack.ask(f"{url}/fake/faults", {"faults": list(faults)}).status == 200


def look(url: str, **more: str) -> Facts:
    return gathered.gather(Flags(), url=url, key=KEY, environ={"PATH": "/usr/bin:/bin", **more}, static=False)


def found(url: str) -> list[Finding]:
    facts = look(url)
    return list(runner.run(live.checks(facts), facts, budget=60))


def bad(findings: list[Finding]) -> list[str]:
    return [each.id for each in findings if each.status in {Status.FAIL, Status.WARN}]


def test_nothing_is_wrong_with_a_healthy_engine(url: str) -> None:
    findings = found(url)
    assert bad(findings) == []
    assert {each.id.partition("@")[0] for each in findings if each.status is Status.OK} >= {
        "answers", "words", "key", "models", "tools", "tool-result", "thinking", "cache", "parallel", "cancel", "client",
    }  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_one_finding_of_the_right_cause(url: str, fault: str) -> None:
    make(url, fault)
    findings = found(url)
    assert bad(findings) == [FAULTS[fault]], [each for each in findings if each.status is not Status.OK]
    said = next(each for each in findings if each.id == FAULTS[fault])
    assert said.cause
    assert said.remedy
    assert said.evidence
    assert KEY not in repr(findings)


def test_the_dummy_key_of_a_guide_is_no_fault_of_an_engine_that_asks_for_none(url: str) -> None:
    make(url, "key=open")
    facts = gathered.gather(Flags(), url=url, key="dummy", environ={"PATH": "/usr/bin:/bin"}, static=False)
    assert bad(list(runner.run(live.checks(facts), facts, budget=60))) == []


def test_a_slow_engine_is_not_blamed(url: str) -> None:
    make(url, "slow=1")
    assert bad(found(url)) == []


def test_a_frozen_engine_is_named_although_its_health_is_fine(engine: tuple[str, int]) -> None:
    worker = psutil.Process(engine[1]).children(recursive=True)[-1]
    worker.suspend()
    try:
        assert bad(found(engine[0])) == ["engine.frozen"]
    finally:
        worker.resume()


def test_an_engine_that_is_not_there_is_refused() -> None:
    assert bad(found(f"http://127.0.0.1:{free_port()}")) == ["gateway.refused"]


def test_a_name_that_the_shell_or_a_settings_file_asks_for_is_asked_of_the_end_that_it_points_at(
    url: str, tmp_path: Path
) -> None:
    def said(**more: str) -> list[Finding]:
        facts = look(url, HOME=str(tmp_path), **more)
        checks = [each for each in live.checks(facts) if each.id.startswith("tiers@")]
        return list(runner.run(checks, facts, budget=60))

    shell = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_MODEL": "some/model",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "claude-haiku-4-5",
    }
    (tier,) = said(**shell)
    assert tier.id == "engine.tier"
    assert "ANTHROPIC_DEFAULT_HAIKU_MODEL makes Claude Code ask for" in tier.cause
    assert [each.status for each in said(**{**shell, "ANTHROPIC_DEFAULT_HAIKU_MODEL": "some/model[1m]"})] == [Status.OK]
    assert said(**{**shell, "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}) == []

    settings = tmp_path / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": url, "CLAUDE_CODE_SUBAGENT_MODEL": "gone"}}))
    (tier,) = said()
    assert "`gone`, which CLAUDE_CODE_SUBAGENT_MODEL makes Claude Code ask for" in tier.cause


def test_a_key_that_nobody_told_is_said_to_be_missing_and_not_to_be_refused(url: str, tmp_path: Path) -> None:
    facts = gathered.gather(Flags(), url=url, environ={"PATH": "/usr/bin:/bin"}, static=False)
    findings = runner.run(live.checks(facts), facts, budget=60)
    assert bad(list(findings)) == ["engine.no-key"]

    file = tmp_path / "litellm_config.yaml"
    row = {"model_name": "local", "litellm_params": {"model": "hosted_vllm/some/model", "api_base": f"{url}/v1"}}
    file.write_text(json.dumps({"model_list": [row]}))
    flags = Flags(config=str(file))
    hand = gathered.gather(flags, url=url, litellm_config=str(file), environ={"PATH": "/usr/bin:/bin"}, static=False)
    (lane,) = hand.lanes  # the engine is asked through the gateway alone
    assert (lane.engine, lane.gateway is not None) == (None, True)
