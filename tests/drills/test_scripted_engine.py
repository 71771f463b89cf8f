"""The scripted engine behaves as vLLM does where supervision looks: its tree, its health, its ways to fail."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.fakes import stack, startup_log
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.drill

ENGINE = str(stack.ROOT / "tests" / "fakes" / "engine.py")
QUESTION = {"model": "scripted", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}


@contextlib.contextmanager
def engine(root: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, ENGINE, "--port", str(port), *flags]
    with stack.running(
        argv, env=stack.base_env(root), cwd=root, log=root / "log", health=f"{url}/health", deadline=60
    ) as process:
        yield process, url


def tree(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.02)
    return False


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_its_tree_has_vllms_shape(tmp_path: Path) -> None:
    with engine(tmp_path) as (leader, _):
        core, worker = tree(leader.pid)
        assert (core.cmdline()[0], worker.cmdline()[0]) == ("VLLM::EngineCore", "VLLM::Worker")
        assert worker.ppid() == core.pid
        assert {os.getpgid(each.pid) for each in (core, worker)} == {leader.pid}
        assert {os.getsid(each.pid) for each in (core, worker)} == {leader.pid}


def test_term_takes_all_of_it_down(tmp_path: Path) -> None:
    with engine(tmp_path) as (leader, _):
        children = tree(leader.pid)
        leader.terminate()
        assert leader.wait(30) == 0
        assert until(lambda: all(gone(each) for each in children))


def test_a_killed_leader_leaves_its_children_but_not_its_port(tmp_path: Path) -> None:
    with engine(tmp_path) as (leader, url):
        children = tree(leader.pid)
        leader.kill()
        leader.wait(5)
        with pytest.raises(ConnectionRefusedError):
            stack.ask(f"{url}/health", timeout=20)
        assert not any(gone(each) for each in children)
        os.killpg(leader.pid, signal.SIGKILL)
        assert until(lambda: all(gone(each) for each in children))


@pytest.mark.parametrize("frozen", [0, 1], ids=["EngineCore", "Worker"])
def test_a_frozen_child_hangs_requests_while_health_is_fine(tmp_path: Path, frozen: int) -> None:
    with engine(tmp_path) as (leader, url):
        assert stack.ask(f"{url}/v1/messages", QUESTION).status == 200
        child = tree(leader.pid)[frozen]
        child.suspend()
        assert until(lambda: child.status() == psutil.STATUS_STOPPED)
        with pytest.raises(TimeoutError):
            stack.ask(f"{url}/v1/messages", QUESTION, timeout=1)
        assert stack.ask(f"{url}/health", timeout=20).status == 200
        child.resume()
        assert until(lambda: stack.ask(f"{url}/v1/messages", QUESTION, timeout=20).status == 200)


def test_a_killed_engine_core_turns_health_to_503_and_then_ends_the_leader(tmp_path: Path) -> None:
    with engine(tmp_path) as (leader, url):
        core, worker = tree(leader.pid)
        core.kill()
        assert until(lambda: stack.ask(f"{url}/health", timeout=20).status == 503)
        assert leader.wait(30) == 1
        assert until(lambda: gone(worker))


def test_an_engine_may_also_stay_when_its_core_is_dead(tmp_path: Path) -> None:
    with engine(tmp_path, "--fake-fault", "keep-alive") as (leader, url):
        tree(leader.pid)[0].kill()
        assert until(lambda: stack.ask(f"{url}/health", timeout=20).status == 503)
        assert stack.ask(f"{url}/v1/messages", QUESTION, timeout=20).status == 500


def test_children_that_ignore_term_outlive_their_leader(tmp_path: Path) -> None:
    with engine(tmp_path, "--fake-fault", "children-ignore-term") as (leader, _):
        children = tree(leader.pid)
        leader.terminate()
        assert leader.wait(30) == 0
        assert not any(gone(each) for each in children)


@pytest.mark.parametrize("reason", startup_log.FAILURES)
def test_a_start_can_fail_for_every_reason_and_leaves_nothing(tmp_path: Path, reason: str) -> None:
    argv = [sys.executable, ENGINE, "--port", str(free_port()), "--fake-fault", f"fail={reason}"]
    with subprocess.Popen(
        argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as failed:
        out, _ = failed.communicate(timeout=60)  # returns when no child holds the pipe any more
    assert failed.returncode == (2 if reason == "bad_flag" else 1)
    assert startup_log.FAILURES[reason] in out


def test_a_taken_port_is_said_as_vllm_says_it(tmp_path: Path) -> None:
    with engine(tmp_path) as (_, url):
        argv = [sys.executable, ENGINE, "--port", url.rpartition(":")[2]]
        second = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "OSError: [Errno 98] Address already in use" in second.stderr


TOOLS = [
    {"name": "weather", "description": "The weather", "input_schema": {"properties": {"city": {"type": "string"}}}}
]
ASKS_FOR_A_TOOL = {
    "model": "scripted",
    "max_tokens": 64,
    "tools": TOOLS,
    "messages": [{"role": "user", "content": "What is the weather in Bern?"}],
}


def test_a_running_engine_can_be_made_ill_and_well_again(tmp_path: Path) -> None:
    with engine(tmp_path, "--fake-control", "--fake-competent", "--enable-auto-tool-choice", "--tool-call-parser", "x") as (_, url):  # fmt: skip

        def answer(*faults: str) -> dict[str, Any]:
            assert stack.ask(f"{url}/fake/faults", {"faults": faults}).status == 200
            content = stack.ask(f"{url}/v1/messages", ASKS_FOR_A_TOOL).json["content"][0]
            assert isinstance(content, dict)
            return content

        assert answer()["input"] == {"city": "Bern"}
        assert answer("tools=xml")["text"].startswith("<tool_call>\n<function=weather>")
        assert answer("tools=none")["type"] == "text"
        assert answer()["type"] == "tool_use"
