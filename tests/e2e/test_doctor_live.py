"""The live probes through real LiteLLM, which is configured by hand and wrong in one way for each name: the engine behind
it is well, so that the gateway is the culprit and nothing else is blamed.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stackctl.checks import facts as gathered
from stackctl.checks import live, runner
from stackctl.checks.endpoints import Endpoint, Lane
from stackctl.config import Flags
from stackctl.model import Status
from tests.fakes import stack
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.model import Finding

pytestmark = pytest.mark.e2e

KEY = "sk-of-the-engine"
MASTER = "sk-of-the-gateway"
SERVED = "some/model"
THINKS = "some/thinker"


def deployments(engine: str) -> dict[str, dict[str, Any]]:
    """LiteLLM's parameters by the name that is asked for."""
    native: dict[str, Any] = {"model": f"anthropic/{SERVED}", "api_base": engine}
    native["additional_drop_params"] = ["thinking"]
    chat: dict[str, Any] = {"model": f"hosted_vllm/{SERVED}", "api_base": f"{engine}/v1", "api_key": KEY}
    return {
        "healthy": native,
        "guesses": chat,
        "double-v1": {**native, "api_base": f"{engine}/v1"},
        "nobody-there": {**chat, "api_base": f"http://127.0.0.1:{free_port()}/v1"},
        "other-model": {**native, "model": "anthropic/other/model"},
        "other-key": {**chat, "api_key": "sk-of-somebody-else"},
        "repeats": {**native, "num_retries": 2},
        "hasty": {**native, "timeout": 1, "stream_timeout": 1},
        # LiteLLM keeps what it knows of a model by its name behind the provider: this one has a name of its own
        "thinks": {"model": f"anthropic/{THINKS}", "api_base": engine},
    }


CAUSES = {
    "healthy": [],
    "guesses": ["gateway.count"],
    "double-v1": ["gateway.wrong-path"],
    "nobody-there": ["gateway.wrong-address"],
    "other-model": ["gateway.wrong-model"],
    "other-key": ["gateway.engine-key"],
    "repeats": ["gateway.retries"],
    "thinks": ["gateway.thinking-budget"],
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scripted engine whose model can use tools."""
    root = tmp_path_factory.mktemp("engine")
    port = free_port()
    argv = [sys.executable, str(stack.ENGINE), "--port", str(port), "--model", SERVED, "--fake-competent"]
    argv += [
        "--fake-control",
        "--enable-auto-tool-choice",
        "--tool-call-parser",
        "hermes",
        "--served-model-name",
        SERVED,
        THINKS,
    ]
    url = f"http://127.0.0.1:{port}"
    env = {**stack.base_env(root), "VLLM_API_KEY": KEY}
    with stack.running(argv, env=env, cwd=root, log=root / "log", health=f"{url}/health", deadline=60):
        yield url


@pytest.fixture(scope="module")
def gateway(engine: str, gateway_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a LiteLLM with a row for each way to be wrong."""
    root = tmp_path_factory.mktemp("gateway")
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": each, "model_info": {"supports_reasoning": name == "thinks"}}
            for name, each in deployments(engine).items()
        ],
        "litellm_settings": {"drop_params": True, "num_retries": 0, "telemetry": False},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"master_key": MASTER},
    }
    (root / "config.yaml").write_text(json.dumps(config))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = str(Path(gateway_python).with_name("litellm"))
    argv = [program, "--config", str(root / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "NO_PROXY": "127.0.0.1"}
    quiet["ANTHROPIC_AUTH_TOKEN"] = KEY  # for the rows without a key
    env = {**stack.base_env(root), **quiet}
    health = f"{url}/health/liveliness"
    with stack.running(argv, env=env, cwd=root, log=root / "log", health=health, deadline=240):
        yield url


def look(engine: str, gateway: str, name: str, behind: Endpoint | None = None) -> tuple[list[Finding], float]:
    """What the live probes find on the way to one name, and how long they took in seconds."""
    behind = behind or Endpoint("engine", "main", engine, SERVED, key=KEY, served=SERVED, window=32768)
    front = Endpoint("gateway", name, gateway, name, key=MASTER, served=SERVED)
    environ = {"PATH": "/usr/bin:/bin", "CLAUDE_CODE_ATTRIBUTION_HEADER": "0"}
    seen = gathered.gather(Flags(), url=gateway, key=MASTER, environ=environ, static=True)
    facts = replace(seen, static=False, lanes=(Lane(name, behind, front),), began=time.monotonic())
    findings = runner.run(live.checks(facts), facts, budget=60)
    return list(findings), time.monotonic() - facts.began


def bad(findings: list[Finding]) -> list[str]:
    return [each.id for each in findings if each.status in {Status.FAIL, Status.WARN}]


@pytest.mark.parametrize("name", CAUSES)
def test_one_wrong_row_is_one_cause_at_the_gateway(engine: str, gateway: str, name: str) -> None:
    findings, seconds = look(engine, gateway, name)
    assert bad(findings) == CAUSES[name], [each for each in findings if each.status is not Status.OK]
    assert KEY not in repr(findings)
    print(f"{name}: {seconds:.1f} s")


def test_keys_are_those_that_litellm_itself_was_started_with(gateway: str, engine: str, tmp_path: Path) -> None:
    rows = [{"model_name": "healthy", "litellm_params": deployments(engine)["healthy"]}]
    file = tmp_path / "litellm_config.yaml"  # as somebody looks at it from another shell
    file.write_text(json.dumps({"model_list": rows, "general_settings": {"master_key": MASTER}}))
    environ = {"PATH": "/usr/bin:/bin", "CLAUDE_CODE_ATTRIBUTION_HEADER": "0"}
    seen = gathered.gather(
        Flags(config=str(file)), url=gateway, litellm_config=str(file), environ=environ, static=False
    )
    (lane,) = seen.lanes
    assert lane.engine is not None
    assert lane.engine.key == KEY
    assert seen.clean(f"key {KEY}") == "key <redacted>"
    checks = [each for each in live.checks(seen) if each.id.startswith(("health@", "answers@"))]
    assert bad(list(runner.run(checks, seen, budget=60))) == []


def test_a_gateway_that_gives_up_early_is_told_from_an_engine_that_thinks(engine: str, gateway: str) -> None:
    stack.ask(f"{engine}/fake/faults", {"faults": ["silence=2.5"]})
    try:
        assert bad(look(engine, gateway, "healthy")[0]) == []
        hasty, _ = look(engine, gateway, "hasty")
        assert bad(hasty) == ["gateway.timeout"], [each.evidence for each in hasty if each.evidence]
    finally:
        stack.ask(f"{engine}/fake/faults", {"faults": []})


def test_a_gateway_behind_a_gateway_is_named(engine: str, gateway: str) -> None:
    behind = Endpoint(
        "engine", "main", gateway.replace("127.0.0.1", "localhost"), "healthy", key=MASTER, served=SERVED, window=32768
    )
    assert "gateway.in-series" in bad(look(engine, gateway, "healthy", behind)[0])


def test_what_the_engine_does_wrong_is_not_blamed_on_the_gateway(engine: str, gateway: str) -> None:
    stack.ask(f"{engine}/fake/faults", {"faults": ["tools=xml"]})
    try:
        assert bad(look(engine, gateway, "healthy")[0]) == ["behaviour.markup"]
    finally:
        stack.ask(f"{engine}/fake/faults", {"faults": []})
