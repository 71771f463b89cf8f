"""`doctor --fix` that is interrupted: nothing that was not proved stays, and no copy of a file does."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from stackctl.checks import facts, handmade, runner
from stackctl.commands import doctor_fix
from stackctl.commands.doctor_request import Request
from stackctl.commands.doctor_stack import Stack
from stackctl.config import Flags
from stackctl.errors import InterruptedByUser, StackError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stackctl.checks.factsheet import Facts

HAND = """\
model_list:
  - model_name: claude-local
    litellm_params: {model: hosted_vllm/qwen3, api_base: http://127.0.0.1:9/v1, api_key: plainwordofmine}
litellm_settings: {modify_params: true, request_timeout: 600, num_retries: 0}
router_settings: {disable_cooldowns: true, num_retries: 0}
general_settings: {master_key: "hunter2 hunter2"}  # a secret: plainwordofmine
"""


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """`--fix` unwinds at these, as `up` does; the tests themselves do not."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def request_for(file: Path) -> Request:
    file.write_text(HAND)
    return Request(Flags(config=str(file)), static=True, fix=True, yes=True)


def looked(request: Request) -> tuple[Facts, tuple[runner.Ran, ...]]:
    seen = facts.gather(request.flags, litellm_config=request.flags.config, static=True, environ={"HOME": "/nowhere"})
    return seen, runner.run_all(handmade.CHECKS, seen, budget=20)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), InterruptedByUser(signal.SIGTERM)], ids=["INT", "TERM"])
def test_an_interruption_while_it_looks_again_undoes_what_was_not_proved(
    tmp_path: Path, interruption: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    request = request_for(tmp_path / "litellm_config.yaml")
    times: list[bool] = []

    def look(_: bool) -> tuple[Facts, tuple[runner.Ran, ...]]:
        times.append(True)
        if len(times) > 1:
            raise interruption
        return looked(request)

    with pytest.raises(type(interruption)):
        doctor_fix.mend(look, request)
    assert len(times) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["litellm_config.yaml"]
    assert (tmp_path / "litellm_config.yaml").read_text() == HAND
    assert "not proved yet, and is undone" in capsys.readouterr().err


def test_a_diff_shows_no_key_that_stands_beside_what_is_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = replace(request_for(tmp_path / "litellm_config.yaml"), yes=False)  # without a terminal: only shown
    doctor_fix.mend(lambda _: looked(request), request)
    said = capsys.readouterr().err
    assert "drop_params: true" in said
    assert "plainwordofmine" not in said
    assert "hunter2" not in said
    assert "http://127.0.0.1:9/v1" in said


def test_a_stack_that_an_interruption_left_down_is_said_with_the_line_that_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "mine.yaml"
    config.write_text("engines: {main: {model: /nowhere/model}}\n")
    stack = Stack(facts.gather(Flags(config="mine.yaml"), static=True, environ={"HOME": str(tmp_path)}))
    stack.interrupted()
    assert capsys.readouterr().err == ""  # it was not touched
    with pytest.raises(StackError):
        stack.run(("up",))  # there is no such model for it to begin with
    stack.interrupted()
    assert "the stack is not running:  stackctl up -c mine.yaml  starts it" in capsys.readouterr().err
