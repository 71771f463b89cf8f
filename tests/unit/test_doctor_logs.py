"""What doctor reads from services' logs: real logs of failed starts, a running engine's warnings, a port that moved."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stackctl.catalog import running, symptoms
from stackctl.checks import logs
from stackctl.checks.facts import Facts
from stackctl.config import Flags
from stackctl.errors import ConfigError
from stackctl.model import ServiceKind, State, Status
from stackctl.paths import StackPaths
from stackctl.runstate import Failed, ServiceRecord, StackState

if TYPE_CHECKING:
    from stackctl.model import Finding

LOGS = Path(__file__).parent / "logs"


def read(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


def facts(text: str, state: State | None, *, name: str = "engine", alive: bool = False, secret: str = "") -> Facts:
    """Facts of a stack whose service `name` wrote `text` and is recorded in `state`; None for no record."""
    kind = ServiceKind.GATEWAY if name == "gateway" else ServiceKind.ENGINE
    record = [] if state is None else [ServiceRecord(name, kind, state, 4000, "x.log", detail="it exited with 1")]
    return Facts(
        environ={}, home="/", cwd="/", flags=Flags(), static=True, logs={name: text, "supervisor": "noise"}, running=alive,
        state=StackState("default", "", "", None, services=record) if record else None, secrets=frozenset({secret}),
    )  # fmt: skip


def said(given: Facts) -> list[Finding]:
    return [finding for check in logs.CHECKS for finding in check.run(given)]


def test_the_true_cause_past_the_wrapper_of_a_start_that_failed() -> None:
    for given in (facts(read("engine-kvsmall"), None), facts(read("engine-kvsmall"), State.FAILED)):
        (found,) = said(given)
        assert (found.id, found.status, found.hop) == ("log.kv-too-small", Status.FAIL, "engine")
        assert "the last start failed: the window of 1,000,000 tokens needs 21.46 GiB" in found.cause
        assert "max_model_len: 46464" in found.remedy
        assert found.evidence[0].startswith("ValueError: To serve at least one request")
        assert found.docs == "log-kv-too-small"
        assert found.fix == "engine-window NAME 46464 && restart || start-again"


def test_a_gateway_that_failed_is_its_own_hop() -> None:
    (found,) = said(facts(read("gateway-nokey"), State.FAILED, name="gateway", alive=True))
    assert (found.id, found.hop) == ("log.gateway-no-master-key", "gateway")


def test_an_engine_that_starts_again_is_told_why() -> None:
    (found,) = said(facts(read("engine-corekill"), State.RESTARTING, alive=True))
    assert found.id == "log.core-exited"
    assert found.blocks


@pytest.mark.parametrize("name", ["engine-start", "engine-sigterm"])
@pytest.mark.parametrize("state", [State.READY, State.STOPPED, None])
def test_a_healthy_engine_says_nothing(name: str, state: State | None) -> None:
    assert not said(facts(read(name), state, alive=state is State.READY))


def test_a_log_of_an_earlier_failure_does_not_count_while_the_service_is_well() -> None:
    assert not said(facts(read("engine-kvsmall"), State.READY, alive=True))


def test_a_failure_that_nobody_knows_is_told_with_its_last_exception() -> None:
    (found,) = said(facts("ValueError: quite new, with CANARY-KEY\n", State.FAILED, alive=True, secret="CANARY-KEY"))
    assert (found.id, found.status) == ("engine.crashed", Status.FAIL)
    assert "it exited with 1" in found.cause
    assert found.evidence == ("ValueError: quite new, with <redacted>",)


def test_a_start_that_ended_without_a_word_is_told_with_its_last_line() -> None:
    text = read("engine-start").partition("(APIServer pid=6) INFO:     Started server process")[0]
    begun = "\n".join(line for line in text.splitlines() if "Application startup complete" not in line)
    (found,) = said(facts(begun, None))
    assert (found.id, found.status) == ("engine.crashed", Status.FAIL)
    assert "ended before it was ready" in found.cause
    assert not said(facts(begun, State.STARTING, alive=True))
    assert not said(facts(f"{begun}\nINFO [shutdown] API server: shutdown triggered", None))
    assert not said(facts("", None))


def test_an_engine_that_ended_by_itself_after_it_was_ready_is_told_when_nothing_runs_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path))
    paths = StackPaths("default")
    file = Path(paths.log("engine"))
    file.parent.mkdir(parents=True)

    def told(text: str, *, age: float = 0) -> list[str]:
        file.write_text(text)
        os.utime(file, (time.time() - age, time.time() - age))
        return [each.id for each in said(replace(facts(text, None), paths=paths))]

    ready = read("engine-start")
    assert told(ready) == ["engine.ended"]
    assert told(read("engine-sigterm")) == []
    assert told(f"{ready}\nINFO [shutdown] API server: shutdown triggered\n") == []
    assert told(ready, age=time.time()) == []  # before the machine was started


def test_a_start_that_failed_is_told_as_up_told_it_with_the_words_of_that_run() -> None:
    old = f"{read('engine-notfound')}\n"
    given = replace(
        facts(old + read("engine-start"), None), failed=Failed("engine", "it answers none, with CANARY-KEY")
    )
    (found,) = said(replace(given, secrets=frozenset({"CANARY-KEY"})))
    assert (found.id, found.status, found.fix) == ("engine.crashed", Status.FAIL, "restart")
    assert found.cause == "the last start failed: the engine failed: it answers none, with <redacted>"
    assert "OSError" not in found.evidence[0]  # that was an earlier run's
    assert not said(replace(given, running=True, state=facts("", State.READY).state))
    assert not said(replace(facts("", None), failed=Failed("gateway", "another")))


def test_a_line_for_a_request_is_nobodys_last_words() -> None:
    text = 'it goes wrong here\nINFO:     127.0.0.1:60004 - "GET /health HTTP/1.1" 200 -\n'
    (found,) = said(facts(text, State.FAILED, alive=True))
    assert found.evidence == ("it goes wrong here",)


def test_what_a_running_engine_warns_of_is_a_warning() -> None:
    line = next(row.sample for row in running.table() if row.id == "tool-stream-error")
    (found,) = said(facts(f"{read('engine-start')}\n{line}\n{line}\n", State.READY, alive=True))
    assert (found.id, found.status, found.blocks) == ("log.tool-stream-error", Status.WARN, False)
    assert "parser hermes" in found.cause
    assert found.cause.endswith("(seen 2 times)")


def test_a_gateway_on_another_port_than_asked_for_is_told() -> None:
    log = read("gateway-start").replace(":4000", ":23144")
    (found,) = said(facts(log, State.READY, name="gateway", alive=True))
    assert found.id == "gateway.moved"
    assert "23144" in found.cause
    assert not said(facts(read("gateway-start"), State.READY, name="gateway", alive=True))


def test_several_engines_are_told_apart_from_the_gateway() -> None:
    (found,) = said(facts(read("engine-kvsmall"), State.FAILED, name="coder", alive=True))
    assert (found.id, found.hop) == ("log.kv-too-small", "engine")
    assert "engines.coder.max_model_len" in found.remedy


def test_no_two_rows_become_the_same_finding() -> None:
    rows = [*(row.id for row in symptoms.table().failures), *(row.id for row in running.table())]
    names = [logs.name_of(row) for row in rows]
    assert len(names) == len(set(names))


def test_a_log_that_somebody_names_is_read_whatever_runs(tmp_path: Path) -> None:
    line = next(row.sample for row in running.table() if row.id == "cooldown")
    (tmp_path / "proxy.out").write_text(f"{read('gateway-start')}\n{line}\n")
    texts = logs.given([str(LOGS / "engine-kvsmall.log"), str(tmp_path / "proxy.out")])
    found = said(Facts(environ={}, home="/", cwd="/", flags=Flags(), static=True, url_target="http://x", logs=texts))
    assert {(each.id, each.hop) for each in found} == {("log.kv-too-small", "engine"), ("log.cooldown", "gateway")}


def test_a_named_log_without_its_beginning_is_not_taken_for_a_crash(tmp_path: Path) -> None:
    (tmp_path / "vllm.out").write_text(read("engine-start")[:4000])
    texts = logs.given([str(tmp_path / "vllm.out")])
    assert not said(Facts(environ={}, home="/", cwd="/", flags=Flags(), static=True, url_target="http://x", logs=texts))


UNKNOWN = "(APIServer pid=6) Traceback (most recent call last):\n(APIServer pid=6) ValueError: quite new, in the first process\n"


def test_a_named_log_that_ends_in_an_unknown_exception_is_told_with_it(tmp_path: Path) -> None:
    whole = read("engine-start")
    begun = "\n".join(line for line in whole.splitlines() if "Application startup complete" not in line) + "\n"
    (tmp_path / "vllm.out").write_text(begun + UNKNOWN)
    (tmp_path / "well.out").write_text(f"{whole}\n{UNKNOWN}")  # it was ready: a request of one client
    texts = logs.given([str(tmp_path / "vllm.out"), str(tmp_path / "well.out")])
    (found,) = said(Facts(environ={}, home="/", cwd="/", flags=Flags(), static=True, url_target="http://x", logs=texts))
    assert (found.id, found.fix) == ("engine.crashed", "")
    assert "quite new" in found.cause
    assert "vllm.out" in found.cause
    assert "stackctl logs" not in found.remedy


def test_what_is_no_log_of_a_server_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary\n")
    for name in ("notes.txt", "none.log", "."):
        with pytest.raises(ConfigError, match="--log"):
            logs.given([str(tmp_path / name)])
