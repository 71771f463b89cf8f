"""`stackctl init`: what is asked, what is written, and what follows from it."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import pytest

from stackctl import config, host, output, paths, planning
from stackctl.commands import init as command
from stackctl.config import Flags
from stackctl.errors import ConfigError
from tests.fakes import machines
from tests.fakes.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from stackctl.output import Outcome


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STACKCTL_ENVS", str(tmp_path / "envs"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def on(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    monkeypatch.setattr(host, "inspect", lambda _cache="": machines.host(machine))


def run(*, here: bool = False, model: str | None = None, yes: bool = True, force: bool = False) -> Outcome:
    return command.run(here=here, model=model, gateway=None, yes=yes, force=force)


@pytest.mark.parametrize(
    ("machine", "model"),
    [
        ("1x24", "Qwen/Qwen3.5-27B-GPTQ-Int4"),
        ("1x16", "openai/gpt-oss-20b"),
        ("laptop_8", "embedded"),
        ("cpu_only", "embedded"),
        ("mac", "embedded"),
    ],
)
def test_without_questions_it_writes_what_suits_the_machine(
    monkeypatch: pytest.MonkeyPatch, machine: str, model: str
) -> None:
    on(monkeypatch, machine)
    outcome = run()
    own = os.path.join(paths.config_dir(), "stack.yaml")
    assert outcome.data["file"] == own
    loaded = config.load(Flags(), {})
    assert (loaded.source, loaded.engine.model) == (own, model)
    assert any(line.endswith("next:  stackctl up") for line in outcome.lines)


def test_the_plan_is_shown_and_every_comment_can_be_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    outcome = run()
    assert any("left for conversations" in line for line in outcome.lines)
    text = outcome.data["text"]
    for line in ("    # max_model_len: 65536", "  # port: 4000", "# aliases:"):
        assert line in text
        taken = text.replace(line, line.replace("# ", "", 1))
        path = os.path.abspath("tried.yaml")
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(taken)
        config.load(Flags(config=path), {})


def test_one_for_this_directory_is_trusted_as_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    outcome = run(here=True)
    assert outcome.data["file"] == os.path.abspath("stack.yaml")
    assert planning.prepare(Flags()).plan.engine.model == "Qwen/Qwen3.5-27B-GPTQ-Int4"
    assert any(line.endswith("next:  stackctl up") for line in outcome.lines)


def test_a_file_that_is_there_is_only_replaced_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    run(model="openai/gpt-oss-20b")
    with pytest.raises(ConfigError, match="is there already"):
        run()
    assert config.load(Flags(), {}).engine.model == "openai/gpt-oss-20b"
    run(force=True)
    assert config.load(Flags(), {}).engine.model == "Qwen/Qwen3.5-27B-GPTQ-Int4"


def test_a_model_name_cannot_break_out_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    text = command.written('a/"b: {c}', "litellm", machines.host("1x24"))
    path = os.path.abspath("odd.yaml")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    assert config.load(Flags(config=path), {}).engine.model == 'a/"b: {c}'


@pytest.mark.parametrize(
    ("model", "gateway", "words"),
    [("a\nb", None, "not a model name"), ("--help", None, "not a model name"), ("x", "litelm", "no gateway 'litelm'")],
)
def test_what_cannot_be_used_is_neither_written_nor_trusted(
    monkeypatch: pytest.MonkeyPatch, model: str, gateway: str | None, words: str
) -> None:
    on(monkeypatch, "1x24")
    with pytest.raises(ConfigError, match=words):
        command.run(here=True, model=model, gateway=gateway, yes=True, force=False)
    assert os.listdir(".") == []
    assert not os.path.lexists(paths.home())


def test_where_nothing_can_be_written_it_is_said_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, "1x24")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file" / "in"))
    monkeypatch.delenv("STACKCTL_HOME")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write") as raised:
        run()
    assert "stackctl init --here" in raised.value.remedy


def answer(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    monkeypatch.setattr(output, "has_terminal", lambda: True)


def test_three_questions_are_asked_and_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on(monkeypatch, "1x80")
    answer(monkeypatch, "2\ndirect\nhere\n")
    outcome = run(yes=False)
    asked = capsys.readouterr().err
    assert asked.count("Which model?") == asked.count("Which gateway?") == asked.count("Where?") == 1
    second = next(line for line in asked.splitlines() if line.strip().startswith("2. ")).split("2. ")[1].split(":")[0]
    assert (outcome.data["model"], outcome.data["gateway"]) == (second, "direct")
    assert outcome.data["file"] == os.path.abspath("stack.yaml")


def test_nothing_typed_takes_the_defaults_and_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    answer(monkeypatch, "\n\n\n")
    assert run(yes=False).data["model"] == "Qwen/Qwen3.5-27B-GPTQ-Int4"
    answer(monkeypatch, "17\n")
    with pytest.raises(ConfigError, match="there is no number 17"):
        run(yes=False, force=True)
    answer(monkeypatch, "\nnginx\n")
    with pytest.raises(ConfigError, match="there is no gateway"):
        run(yes=False, force=True)


def test_in_a_real_terminal(own_home: Path) -> None:
    terminal = Terminal([sys.executable, "-m", "stackctl", "init"], dict(os.environ), own_home / "work")
    terminal.read("Which model?")
    terminal.type(b"embedded\n")
    terminal.read("Which gateway?")
    terminal.type(b"\n")
    terminal.read("Where?")
    terminal.type(b"here\n")
    assert terminal.end() == 0
    assert (own_home / "work" / "stack.yaml").read_text().count("model:") >= 1
