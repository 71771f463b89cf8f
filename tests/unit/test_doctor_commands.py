"""Every remedy of doctor's can be typed as it stands: for a stack with a name and several engines, and for a server made by hand."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import names, planning
from stackctl.checks import answers, commands, facts
from stackctl.checks.endpoints import Endpoint, Lane
from stackctl.commands import up
from stackctl.config import Flags
from stackctl.errors import StackError
from stackctl.model import Finding, Status
from tests.unit.test_remedies import lines, unknown

if TYPE_CHECKING:
    from pathlib import Path

TWO = """\
name: two
engines:
  coder: {model: embedded, port: 18000}
  helper: {model: embedded, port: 18001}
  attic: {url: "http://127.0.0.1:9", model: attic}
gateway: {port: 14000}
routes: {default: coder, haiku: helper, opus: attic}
"""
ACTING = {"up", "down", "restart", "status", "logs", "env", "launch", "render"}  # on a stack
_OF_A_STACK = re.compile(r"stackctl (?:up|down|restart|status|logs|env|launch)")


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> facts.Facts:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my stack.yaml").write_text(TWO)
    seen = facts.gather(Flags(config="my stack.yaml"), static=True, environ={"HOME": str(tmp_path)})
    assert seen.prepared is not None, (seen.load_error, seen.prepare_error)
    plan = seen.prepared.plan
    helper = next(each for each in plan.engines if each.name == "helper")
    behind = Endpoint("engine", "helper", helper.url, helper.served, managed=True)
    front = Endpoint("gateway", "litellm", plan.gateway.url, "claude-local-haiku", managed=True)
    return replace(seen, lanes=(Lane("haiku", behind, front),))  # as while it runs


@pytest.fixture
def by_hand(tmp_path: Path) -> facts.Facts:
    return facts.gather(Flags(), url="http://127.0.0.1:9", static=True, environ={"HOME": str(tmp_path)})


def made(name: str, **given: str) -> Finding:
    """The finding `name` with some word in each place."""
    row = answers.table()[name][1]
    texts = (row.cause, row.remedy, row.by_hand, row.fix)
    words: dict[str, Any] = {field: "x" for text in texts for _, field, _, _ in string.Formatter().parse(text) if field}
    return answers.finding(name, Status.FAIL, **{**words, **given})


def typed(text: str) -> list[str]:
    """The commands of a remedy, without what only quotes a value."""
    return [line.replace("'my stack.yaml'", "FILE") for line in lines(text.replace("; ", ")  ").replace(" , ", "  "))]


@pytest.mark.parametrize("place", ["@engine:helper", "@gateway:haiku", ""])
def test_every_command_is_for_this_stack_and_names_a_service_that_it_has(two: facts.Facts, place: str) -> None:
    for name in answers.table():
        service = "gateway" if name.startswith("gateway.") else "helper"
        found = commands.typed(made(name, service=service), two, f"some{place}")
        assert not re.search(r"stackctl \S+ engine\b", found.remedy), (name, found.remedy)
        for line in typed(found.remedy):
            verb, *rest = line.split()
            assert unknown(line) is None, (name, line)
            assert verb not in ACTING or "--name two" in line, (name, line)
            assert verb not in {"up", "render"} or "-c FILE" in line, (name, line)
            if verb in {"restart", "logs"} and not rest[0].startswith("-"):
                assert rest[0] in {"gateway", "helper"}, (name, line)


def test_the_service_and_the_options_stand_where_they_belong(two: facts.Facts) -> None:
    def said(name: str, check: str, **words: str) -> str:
        return commands.typed(made(name, **words), two, check).remedy

    assert said("engine.hangs", "answers@engine:coder") == "stackctl restart coder --name two"
    assert said("gateway.hangs", "answers@gateway:haiku") == "stackctl restart gateway --name two"
    assert "stackctl logs helper --name two , then" in said("behaviour.cut", "tools@gateway:haiku")
    assert said("engine.died", "engine.process", service="helper").startswith("stackctl logs helper --name two  shows")
    assert "stackctl restart -c 'my stack.yaml' --name two" in said("engine.died", "engine.process", service="helper")
    assert "stackctl logs --name two" in said("client.stream-cut", "client.stream-cut")  # of which engine, nobody knows
    assert 'eval "$(stackctl env --name two)", or stackctl launch claude -c' in said("client.stale-url", "client.url")
    already = Finding("x", Status.FAIL, remedy="stackctl restart --name two, for this plan")
    assert commands.typed(already, two, "x").remedy == already.remedy


def test_an_engine_elsewhere_has_no_service_here(two: facts.Facts) -> None:
    found = commands.typed(made("engine.refused"), two, "answers@engine:attic")
    assert found.remedy == found.by_hand
    assert "correct its address" in found.remedy


def test_the_default_stack_reads_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    seen = facts.gather(Flags(), static=True, environ={"HOME": str(tmp_path)})
    assert seen.paths is not None
    assert names.option(seen.paths.name) == ""
    for name in answers.table():
        assert (
            commands.typed(made(name, service="engine"), seen, "some@engine:main").remedy
            == made(name, service="engine").remedy
        )


def test_a_server_made_by_hand_is_not_sent_to_commands_that_know_nothing_of_it(by_hand: facts.Facts) -> None:
    asked = [name for name, (_, row) in answers.table().items() if "{end}" in row.cause]
    assert len(asked) > 80
    for name in asked:
        found = commands.typed(made(name), by_hand, "some@engine:server")
        assert found.remedy
        assert not _OF_A_STACK.search(found.remedy), (name, found.remedy)


def test_a_remedy_of_up_names_what_the_user_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my stack.yaml").write_text("name: two\n")
    said = "stackctl doctor --fix  fetches it again; or stackctl logs engine"
    environ = {"HOME": str(tmp_path)}
    assert commands.of_flags(said, Flags(), environ) == said
    found = commands.of_flags(said, Flags(config="my stack.yaml", model="m"), environ)
    assert (
        found
        == "stackctl doctor --fix -c 'my stack.yaml' --model m --name two  fetches it again; or stackctl logs engine --name two"
    )
    (tmp_path / "stack.yaml").touch()  # nobody trusts it, and so it must be named again
    assert commands.of_flags("stackctl up", Flags(config="stack.yaml"), environ) == "stackctl up -c stack.yaml"
    named = commands.of_flags(said, Flags(name="b"), environ)
    assert named == "stackctl doctor --fix --name b  fetches it again; or stackctl logs engine --name b"


def test_up_that_fails_says_the_command_for_that_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Flags) -> None:
        raise StackError("the model is broken", remedy="stackctl doctor --fix  fetches it again")

    monkeypatch.setattr(planning, "prepare", fails)
    with pytest.raises(StackError) as failed:
        up.run(Flags(config="/my/own.yaml"), detach=True, dry_run=False, yes=True, as_json=False)
    assert failed.value.remedy == "stackctl doctor --fix -c /my/own.yaml  fetches it again"
