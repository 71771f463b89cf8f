"""The engine dies or hangs behind real LiteLLM: the gateway stays up and says so, in a way that clients repeat."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import stack, turns
from tests.fakes.stack import Answer, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("gateway_python")]

MESSAGE = {"model": stack.ALIAS, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
COUNT = {name: value for name, value in MESSAGE.items() if name != "max_tokens"}
CHAT = {**MESSAGE, "model": stack.SERVED}
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/messages", MESSAGE),
    ("/v1/messages", {**MESSAGE, "stream": True}),
    ("/v1/messages/count_tokens", COUNT),
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", {**CHAT, "stream": True}),
    ("/v1/responses", {"model": stack.SERVED, "input": "hi"}),
]


def engine_of(found: Stack) -> dict[str, Any]:
    return next(each for each in found.status()["services"] if each["name"] == "engine")


def await_answer(found: Stack, status: int, within: float = 90) -> Answer:
    deadline = time.monotonic() + within
    while (answer := found.ask("/v1/messages", MESSAGE)).status != status:
        assert time.monotonic() < deadline, answer.raw
        time.sleep(0.05)
    return answer


def test_while_the_engine_restarts_every_path_says_so_and_is_retryable(tmp_path: Path) -> None:
    with stack.scripted_stack(tmp_path, turns.TURNS, faults=["load=9"]) as found:
        assert found.ask("/v1/messages", MESSAGE).status == 200
        os.kill(engine_of(found)["pid"], signal.SIGKILL)
        began = time.monotonic()
        answers = [found.ask(path, body) for path, body in ASKED]
        assert time.monotonic() - began < 9  # none of them waited for the engine
        for (path, _), answer in zip(ASKED, answers, strict=True):
            assert (answer.status, path) == (503, path)
            assert answer.headers["content-type"] == "application/json"
            assert 0 < int(answer.headers["retry-after"]) < 10
            assert answer.headers["x-should-retry"] == "true"
            error = answer.json["error"]
            assert error["type"] == "overloaded_error"
            assert f"the engine `engine` ({stack.SERVED})" in error["message"]
        assert any("is restarting: it was killed by signal 9" in each.json["error"]["message"] for each in answers)
        assert found.ask("/v1/models").status == 200
        assert found.ask("/health/liveliness", key=None).status == 200
        assert found.ask("/v1/messages", MESSAGE, key="wrong").status == 403
        await_answer(found, 200)
        assert next(each for each in found.status()["services"] if each["name"] == "gateway")["restarts"] == 0
        print(f"drill +: engine killed: {len(answers)}/{len(answers)} answered 503 in words, gateway not restarted")


def test_an_engine_whose_core_is_dead_is_named_before_it_is_restarted(tmp_path: Path) -> None:
    with stack.scripted_stack(tmp_path, turns.TURNS, faults=["keep-alive"]) as found:
        import psutil

        leader = psutil.Process(engine_of(found)["pid"])
        next(each for each in leader.children() if "EngineCore" in " ".join(each.cmdline())).kill()
        answer = await_answer(found, 503)
        assert "the engine `engine`" in answer.json["error"]["message"]
        await_answer(found, 200)


def test_an_engine_that_has_failed_for_good_is_not_to_be_waited_for(tmp_path: Path) -> None:
    with stack.scripted_stack(tmp_path, turns.TURNS) as found:
        deadline = time.monotonic() + 120
        while (engine := engine_of(found))["state"] != "failed":
            if engine["state"] in {"starting", "ready"}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(engine["pid"], signal.SIGKILL)
            assert time.monotonic() < deadline
            time.sleep(0.2)
        answer = found.ask("/v1/messages", MESSAGE)
        assert answer.status == 503
        assert answer.headers["x-should-retry"] == "false"
        assert "has failed: given up after 5 starts" in answer.json["error"]["message"]
        assert "stackctl logs engine" in answer.json["error"]["message"]


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    refusing = [{"when": {"any": "refuse-me"}, "reply": [{"status": 500, "error": "a fault of its own"}]}]
    with stack.scripted_stack(tmp_path, [*refusing, *turns.TURNS]) as found:
        body = {**MESSAGE, "messages": [{"role": "user", "content": "refuse-me"}]}
        answer = found.ask("/v1/messages", body)
        assert answer.status == 500
        assert "a fault of its own" in answer.raw.decode()
