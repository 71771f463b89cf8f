"""The drills that count most, on real vLLM behind real LiteLLM: `REAL=1 make drills`."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.fakes import stack
from tests.fakes.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fakes.stack import Stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.drill,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("gateway_python", "embedded_model"),
]

QUESTION = {"model": stack.ALIAS, "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack.up(tmp_path_factory.mktemp("real-drills"), stack.real_config()) as found:
        yield found


def engine_of(found: Stack) -> dict[str, Any]:
    return next(each for each in found.status()["services"] if each["name"] == "engine")


def tree_of(found: Stack) -> list[psutil.Process]:
    leader = psutil.Process(engine_of(found)["pid"])
    return [leader, *leader.children(recursive=True)]


def core_of(found: Stack) -> psutil.Process:
    return next(each for each in tree_of(found) if "EngineCore" in " ".join(each.cmdline()) + each.name())


def until(condition: Callable[[], bool], within: float, what: str) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within, f"not within {within} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def healed(found: Stack) -> float:
    def answers() -> bool:
        return found.status()["state"] == "ready" and found.ask("/v1/messages", QUESTION, timeout=60).status == 200

    return until(answers, 240, "it answers again")


def test_api_server_killed(chain: Stack) -> None:
    old = tree_of(chain)
    os.kill(old[0].pid, signal.SIGKILL)
    gone = until(lambda: not any(each.is_running() for each in old), 8, "the old engine is gone")
    said = chain.ask("/v1/messages", QUESTION)  # how far the restart has come by now is chance
    assert said.status == 503
    assert re.search(r"`engine` .* is (restarting|starting again)", said.json["error"]["message"])
    print(f"drill 2: 0 of {len(old)} old processes after {gone:.2f} s, healed after {healed(chain):.0f} s")


def test_engine_core_killed(chain: Stack) -> None:
    restarts = engine_of(chain)["restarts"]
    core_of(chain).kill()
    begun = until(lambda: engine_of(chain)["state"] in {"restarting", "starting"}, 10, "the restart has begun")
    healed(chain)
    assert engine_of(chain)["restarts"] == restarts + 1
    print(f"drill 5: restart begun after {begun:.1f} s")


def test_engine_core_frozen(chain: Stack) -> None:
    core = core_of(chain)
    core.suspend()
    begun = until(lambda: engine_of(chain)["state"] in {"restarting", "starting"}, 30, "it was noticed")
    healed(chain)
    print(f"drill 7: stopped: detected after {begun:.1f} s")


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_while_real_vllm_loads(tmp_path: Path, presses: int) -> None:
    """Once: everything ends within the grace; twice: within two seconds. The test itself fails at three times that."""
    file, home = tmp_path / "given.yaml", tmp_path / "state"
    file.write_text(json.dumps(stack.real_config()))
    terminal = Terminal(stack.argv("up", "--yes", "-c", file), stack.environment(home), tmp_path)
    try:
        terminal.read("loading weights", within=300)
        began = time.monotonic()
        terminal.type(b"\x03")
        if presses == 2:
            terminal.read("stopping", within=30)
            began = time.monotonic()
            terminal.type(b"\x03")
        assert terminal.end(within=60) == 130
        took = time.monotonic() - began
    finally:
        terminal.close()
    assert stack.leftovers(home) == []
    assert took < 3 * (15 if presses == 1 else 2)
    print(f"drill 21: {'^C' * presses} while weights load: prompt back after {took:.1f} s, 0 left")


def test_supervisor_killed(tmp_path: Path) -> None:
    root = tmp_path / "killed"
    root.mkdir()
    file = root / "given.yaml"

    file.write_text(json.dumps(stack.real_config()))
    home = root / "state"
    started = stack.stackctl(home, "up", "-d", "--yes", "-c", file, timeout=840)
    assert started.returncode == 0, started.stderr
    data = json.loads(stack.stackctl(home, "status", "--json").stdout)["data"]
    everyone = [
        process
        for each in data["services"]
        for process in [psutil.Process(each["pid"]), *psutil.Process(each["pid"]).children(recursive=True)]
    ]
    os.kill(data["supervisor"]["pid"], signal.SIGKILL)
    took = until(lambda: not any(each.is_running() for each in everyone), 10, "nothing is left")
    assert stack.stackctl(home, "down").returncode == 0
    print(f"drill 1: 0 of {len(everyone)} processes left after {took:.2f} s")
