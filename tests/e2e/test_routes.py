"""Several engines and a provider behind real LiteLLM: each name reaches its own, with its own key, and counts exactly."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stackctl.checks import facts, live, runner
from stackctl.config import Flags
from stackctl.model import Status
from tests.fakes import claude, hosted, offline, routes, sse, stack
from tests.fakes.routes import BEHIND, KEY, SAYS, SMALL, Routed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stackctl.model import Finding

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("gateway_python")]

SAID = [{"role": "user", "content": "Who are you, and how many words has this?"}]
SYSTEM = "You are one of several."


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    root = tmp_path_factory.mktemp("routes")  # it loads for so long that its absence is seen
    with hosted.provider(KEY) as provider, routes.routed(root, provider, small=("load=3",)) as found:
        yield found


def body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 64, "messages": SAID, **more}


@pytest.mark.parametrize("name", BEHIND)
def test_every_name_reaches_its_own_in_every_protocol(running: Routed, name: str) -> None:
    chain, says = running.chain, SAYS[BEHIND[name]]
    whole = chain.ask("/v1/messages", body(name))
    assert (whole.status, whole.json["content"][0]["text"]) == (200, says)
    streamed = chain.ask("/v1/messages", body(name, stream=True))
    assert sse.read(streamed.raw).text == says
    chat = chain.ask("/v1/chat/completions", body(name))
    assert (chat.status, chat.json["choices"][0]["message"]["content"]) == (200, says)
    answer = chain.ask("/v1/responses", {"model": name, "input": "Who are you?"})
    assert answer.status == 200, answer.raw
    assert says in answer.raw.decode()


def test_each_is_sent_its_own_key_and_no_other(running: Routed) -> None:
    for name in BEHIND:
        running.chain.ask("/v1/messages", body(name))
        running.chain.ask("/v1/messages/count_tokens", {"model": name, "messages": SAID})
    keys = {name: running.key(name) for name in running.urls}
    assert len({*keys.values(), KEY, running.chain.key, running.chain.master_key}) == 5
    for record in running.records.values():
        asked = stack.read_record(record)
        assert asked
        assert all(each["authorized"] for each in asked)  # a bearer token that is this engine's own
    assert running.provider.asked
    for _, headers, _ in running.provider.asked:
        assert headers["x-api-key"] == KEY
        sent = " ".join(headers.values())
        assert not any(key in sent for key in (*keys.values(), running.chain.key, running.chain.master_key))
    for url in running.urls.values():  # the engines refuse each other's
        others = [key for name, key in keys.items() if running.urls[name] != url]
        assert stack.ask(f"{url}/v1/models", key=others[0]).status == 401


def test_a_key_is_in_no_file_and_in_no_environment_that_needs_it_not(running: Routed) -> None:
    import psutil

    keys = {name: running.key(name) for name in running.urls}
    for path in running.chain.home.rglob("*"):
        text = path.read_bytes() if path.is_file() else b""
        assert not any(key.encode() in text for key in (*keys.values(), KEY)), path
    for name in running.urls:
        held = " ".join(psutil.Process(running.services()[name]["pid"]).environ().values())
        assert KEY not in held
        assert not any(key in held for other, key in keys.items() if other != name)


@pytest.mark.parametrize("name", BEHIND)
@pytest.mark.parametrize("more", [{}, {"system": SYSTEM}], ids=["plain", "system"])
def test_tokens_are_counted_exactly_on_every_route(running: Routed, name: str, more: dict[str, Any]) -> None:
    counted = running.chain.ask("/v1/messages/count_tokens", {"model": name, "messages": SAID, **more})
    assert counted.status == 200, counted.raw
    engine = BEHIND[name]
    if engine == "hosted":
        assert counted.json["input_tokens"] == hosted.COUNT
        return
    served = SMALL if engine == "small" else stack.SERVED
    asked = {"model": served, "messages": SAID, **more}
    own = stack.ask(f"{running.urls[engine]}/v1/messages/count_tokens", asked, key=running.key(engine))
    assert counted.json["input_tokens"] == own.json["input_tokens"] > 0


def test_doctor_asks_for_every_name_that_is_exported_but_those_that_cost(
    running: Routed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(running.chain.home))
    environ = {**stack.environment(running.chain.home), "PROVIDER_KEY": KEY}
    seen = facts.gather(Flags(config=str(running.chain.config)), environ=environ, static=False)
    paid = len(running.provider.asked)
    asked = len(stack.read_record(running.records["small"]))

    def said(looked: facts.Facts) -> list[Finding]:
        checks = [each for each in live.checks(looked) if each.id.startswith("tiers@")]
        return list(runner.run(checks, looked, budget=60))

    (fine,) = said(seen)
    assert (fine.id, fine.status) == ("tiers@gateway:default", Status.OK)
    assert len(stack.read_record(running.records["small"])) > asked  # haiku and subagent
    assert len(running.provider.asked) == paid

    assert seen.state is not None
    assert seen.state.client is not None
    routes_ = tuple(replace(each, model=f"{each.model}-gone") for each in seen.state.client.routes)
    state = replace(seen.state, client=replace(seen.state.client, routes=routes_))
    lost = said(replace(seen, state=state, began=time.monotonic()))
    assert {each.id for each in lost} == {"gateway.tier-lost"}
    causes = " ".join(each.cause for each in lost)
    for name in ("haiku", "subagent"):
        assert f"`claude-local-{name}-gone`, which `stackctl env` makes Claude Code ask for" in causes
    assert "claude-local-opus-gone" not in causes


def test_clients_are_told_of_every_route(running: Routed) -> None:
    listed = {each["id"] for each in running.chain.ask("/v1/models").json["data"]}
    assert set(BEHIND) <= listed
    assert "route opus (anthropic/claude-opus-4-8): answers, with one token" in running.chain.said
    assert "ready: a real token came through the gateway and every route" in running.chain.said
    shown = running.chain.stackctl("status").stderr
    assert (
        "routes: haiku -> small, subagent -> small, opus -> anthropic/claude-opus-4-8 (hosted), gpt-4o -> small"
        in shown
    )
    assert {name: each["window"] for name, each in running.services().items() if each["kind"] == "engine"} == {
        "coder": stack.WINDOW,
        "small": stack.WINDOW // 2,
    }


@pytest.mark.parametrize(
    ("flags", "answers"), [((), "coder"), (("--model", "haiku"), "small"), (("--model", "opus"), "hosted")]
)
def test_real_claude_code_reaches_each_kind_of_work(
    running: Routed, claude_code: Path, tmp_path: Path, flags: tuple[str, ...], answers: str
) -> None:
    env = running.chain.env()
    ended = claude.run(claude_code, "Who are you?", *flags, home=tmp_path / "home", cwd=tmp_path / "work", env=env)
    assert ended.code == 0, ended.out + ended.err
    assert ended.result["result"] == SAYS[answers]
    (used,) = (usage for name, usage in ended.result["modelUsage"].items() if BEHIND.get(name) == answers)
    assert used["contextWindow"] == stack.WINDOW // 2  # the smallest: it knows one for all


def test_another_machine_is_told_of_every_route(running: Routed) -> None:
    chain = running.chain
    got = chain.stackctl("env", "--url", chain.url, "--shell", "json", env={"STACKCTL_KEY": chain.key})
    assert got.returncode == 0, got.stderr
    assert json.loads(got.stdout)["data"]["env"] == chain.env()
    assert chain.ask("/stackctl/client", key="wrong").status == 403


def await_status(found: Routed, model: str, status: int, within: float = 120) -> stack.Answer:
    deadline = time.monotonic() + within
    while (answer := found.chain.ask("/v1/messages", body(model))).status != status:
        assert time.monotonic() < deadline, answer.raw
        time.sleep(0.05)
    return answer


def test_an_engine_that_dies_takes_only_its_own_routes_with_it_and_is_healed(running: Routed) -> None:
    before = running.services()
    os.kill(before["small"]["pid"], signal.SIGKILL)
    away = await_status(running, "claude-local-haiku", 503)
    count = running.chain.ask("/v1/messages/count_tokens", {"model": SMALL, "messages": SAID})
    others = [running.chain.ask("/v1/messages", body(name)) for name in ("claude-local", "claude-local-opus")]
    assert "the engine `small` (acme/small)" in away.json["error"]["message"]
    assert away.headers["x-should-retry"] == "true"
    assert count.status in {200, 503}  # it may be back already
    assert [each.status for each in others] == [200, 200]
    healed = await_status(running, "claude-local-haiku", 200)
    assert healed.json["content"][0]["text"] == SAYS["small"]
    after = running.services()
    assert after["small"]["restarts"] == before["small"]["restarts"] + 1
    assert {name: after[name]["pid"] for name in ("coder", "gateway")} == {
        name: before[name]["pid"] for name in ("coder", "gateway")
    }


def test_one_engine_is_restarted_and_its_log_is_its_own(running: Routed) -> None:
    before = running.services()
    done = running.chain.stackctl("restart", "small")
    assert done.returncode == 0, done.stderr
    assert "small runs again" in done.stderr
    after = running.services()
    assert after["small"]["pid"] != before["small"]["pid"]
    assert after["coder"]["pid"] == before["coder"]["pid"]
    shown = running.chain.stackctl("logs", "small").stdout.splitlines()
    assert shown
    assert all(line.startswith("small") for line in shown)
    wrong = running.chain.stackctl("restart", "smal")
    assert wrong.returncode == 2
    assert "coder and small and gateway" in wrong.stderr


def test_nothing_leaves_loopback() -> None:
    found = offline.run("routed", timeout=180)
    assert {status for _, status in found["asked"]} == {200}
    assert found["counted"] == dict.fromkeys(offline.COUNTERS, 0)
