"""Drills: an EngineCore that hangs behind a healthy /health is found; a busy engine never is."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import probe
from stackctl.model import Probe
from tests.drills.harness import PATIENCE, Stack, until
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.drill

SCRIPTED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fakes", "engine.py")


def scripted(*flags: str) -> dict[str, Any]:
    port = free_port()
    argv = [sys.executable, "-I", SCRIPTED, "--port", str(port), *flags]
    return {"name": "engine", "kind": "engine", "port": port, "argv": argv, "deep": True}


def ask(stack: Stack, text: str, timeout: float = 60) -> probe.Result:
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}], "stream": True}
    return probe.request(
        Probe(f"http://127.0.0.1:{stack.services[0]['port']}/v1/chat/completions", "POST", body=body, timeout=timeout)
    )


def test_a_deadlocked_core_behind_a_healthy_health(up: Callable[..., Stack]) -> None:
    stack = up(scripted("--fake-fault", "deadlock=3")).ready()
    time.sleep(3)  # until it hangs
    began = time.monotonic()
    assert stack.ask("engine").ok
    waiting = threading.Thread(target=lambda: ask(stack, "hi"))
    waiting.start()
    stack.saw("ServiceChanged", 30, name="engine", state="restarting")
    took = time.monotonic() - began
    assert took <= 30 * PATIENCE
    why = stack.find("ServiceChanged", name="engine", state="restarting")[0]["detail"]
    assert why.startswith("it takes requests but answers none and makes no progress, for ")
    stack.saw("ServiceChanged", 10, name="engine", state="ready", times=2)
    waiting.join()
    until(lambda: ask(stack, "hi", 5).ok, 60, "it answers again")  # for as long as it does not hang anew
    print(f"drill 7: deadlocked, /health fine: detected after {took:.1f} s")


def test_a_deadlocked_core_that_nobody_asks_is_found_too(up: Callable[..., Stack]) -> None:
    stack = up(scripted("--fake-fault", "deadlock=3"), idle_every=4.0).ready()
    stack.saw("ServiceChanged", 30, name="engine", state="restarting")
    assert "makes no progress" in stack.find("ServiceChanged", name="engine", state="restarting")[0]["detail"]


def test_an_engine_that_nobody_asks_is_let_sleep(up: Callable[..., Stack], tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    stack = up(scripted("--fake-record", str(record)), work_every=0.5).ready()
    time.sleep(8)  # sixteen looks at its work
    asked = [each for each in map(json.loads, record.read_text().splitlines()) if each["path"] == "/v1/completions"]
    assert len(asked) <= 2
    assert stack.record("engine").restarts == 0
    print(f"drill +: idle engine looked at 16 times: asked for {len(asked)} token(s)")


def test_a_busy_engine_that_answers_nobody_else_is_left_alone(up: Callable[..., Stack], tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    words = " ".join(["word"] * 120)
    script.write_text(json.dumps({"turns": [{"when": {"any": "long"}, "reply": [{"text": words}], "pace": 0.25}]}))
    stack = up(scripted("--fake-fault", "serial", "--fake-script", str(script))).ready()
    answers: list[probe.Result] = []
    thread = threading.Thread(target=lambda: answers.append(ask(stack, "long")))
    began = time.monotonic()
    thread.start()
    until(lambda: b"engine" in stack.ask("engine", "/metrics").body, 5, "it runs")
    thread.join()
    took = time.monotonic() - began
    assert took > 27  # longer than a hang takes to be found
    assert answers[0].ok
    assert stack.record("engine").restarts == 0
    print(f"drill +: engine busy with one request for {took:.0f} s: not restarted")
