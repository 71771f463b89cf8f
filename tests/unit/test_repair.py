"""A repair is first a plan, changes nothing until it is applied, and can be undone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stackctl import repair, trust
from stackctl.checks import answers
from stackctl.checks.facts import Facts
from stackctl.config import Flags
from stackctl.errors import StackError
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG = "engines:\n  main:\n    model: some/model  # mine\ngateway: {port: 4000}\n"
HAND = """\
model_list:
  - model_name: claude-local   # what Claude Code asks for
    litellm_params: {model: openai/qwen3, api_base: http://127.0.0.1:8000/v1}
  - model_name: other
    litellm_params: {model: openai/other, api_base: http://127.0.0.1:8001/v1}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def facts(home: Path, *, config: Path | None = None, hand: Path | None = None) -> Facts:
    return Facts({}, str(home), str(home), Flags(config=str(config) if config else None), True, hand_file=str(hand) if hand else None)  # fmt: skip


def finding(fix: str, cause: str = "it is broken") -> Finding:
    return Finding("some.thing", Status.FAIL, cause, fix=fix)


def nothing(words: Sequence[str]) -> None:
    raise AssertionError(f"nothing was to be run: {words}")


def test_a_value_of_the_configuration_is_set_and_put_back(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    change = repair.propose(facts(home, config=file), finding("stack.set engines.main.args.tool-call-parser qwen3_xml"))
    assert change is not None
    assert file.read_text() == CONFIG  # only a plan
    assert "+    args:" in repair.shown(change)
    applied = repair.apply(change, nothing)
    assert file.read_text() == CONFIG.replace("# mine\n", "# mine\n    args:\n      tool-call-parser: qwen3_xml\n")
    ((path, copy),) = applied.backups
    assert path == str(file)
    assert Path(copy).read_text() == CONFIG
    applied.undo()
    assert file.read_text() == CONFIG
    assert sorted(each.name for each in home.iterdir()) == ["mine.yaml"]


def test_two_steps_on_one_file_are_one_after_the_other(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    change = repair.propose(
        facts(home, config=file), finding("stack.set gateway.port 4001 && stack.unset engines.main.model")
    )
    assert change is not None
    applied = repair.apply(change, nothing)
    assert "4001" in file.read_text()
    assert "some/model" not in file.read_text()
    applied.undo()
    assert file.read_text() == CONFIG


def test_a_trusted_configuration_stays_trusted(home: Path) -> None:
    file = home / "stack.yaml"
    file.write_text(CONFIG)
    trust.add(str(file))
    change = repair.propose(facts(home), finding("stack.set gateway.port 4001"))
    assert change is not None
    repair.apply(change, nothing)
    assert b"4001" in trust.content(str(file), named=False)


def test_every_deployment_of_a_handwritten_file_is_changed(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND)
    change = repair.propose(facts(home, hand=file), finding("litellm.set 'model_list.*.litellm_params.timeout' 600"))
    assert change is not None
    repair.apply(change, nothing).keep()
    assert file.read_text() == HAND.replace("/v1}", "/v1, timeout: 600}")


def test_one_deployment_is_changed_by_its_name(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND)
    change = repair.propose(facts(home, hand=file), finding("litellm.row other api_base http://127.0.0.1:8001"))
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == HAND.replace("8001/v1", "8001")


def test_variables_leave_a_settings_file_and_the_rest_stays(home: Path) -> None:
    file = home / "settings.json"
    text = json.dumps({"env": {"ANTHROPIC_BASE_URL": "x", "DEBUG": "1"}, "theme": "dark"}, indent=4) + "\n"
    file.write_text(text)
    file.chmod(0o640)
    change = repair.propose(facts(home), finding("settings.unset", f"{file} sets ANTHROPIC_BASE_URL to x"))
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == json.dumps({"env": {"DEBUG": "1"}, "theme": "dark"}, indent=4) + "\n"
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_linked_dotfile_is_changed_where_it_really_is(home: Path) -> None:
    real = home / "dotfiles" / "bashrc"
    real.parent.mkdir()
    real.write_text("one\nexport ANTHROPIC_BASE_URL=x\n")
    link = home / ".bashrc"
    link.symlink_to(real)
    change = repair.propose(facts(home), finding(f"comment {link} 2"))
    assert change is not None
    repair.apply(change, nothing)
    assert link.is_symlink()
    assert real.read_text() == "one\n# export ANTHROPIC_BASE_URL=x\n"


def test_what_fails_half_way_is_undone(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    change = repair.propose(facts(home, config=file), finding("stack.set gateway.port 4001 && restart"))
    assert change is not None
    asked: list[Sequence[str]] = []

    def fails(words: Sequence[str]) -> None:
        asked.append(words)
        raise StackError("it did not come back", remedy="")

    with pytest.raises(StackError):
        repair.apply(change, fails)
    assert asked == [("restart",)]
    assert file.read_text() == CONFIG
    assert sorted(each.name for each in home.iterdir()) == ["mine.yaml"]


@pytest.mark.parametrize("fix", ["", "stack.unset gateway.host", "stack.corrected", "aside /nowhere/at/all", "no-such-repair", "settings.unset"])  # fmt: skip
def test_what_cannot_be_repaired_is_not_offered(home: Path, fix: str) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    assert repair.propose(facts(home, config=file), finding(fix)) is None


@pytest.mark.parametrize(
    ("text", "said", "remedy", "made"),
    [
        ("gatway:\n  port: 4100\n", "unknown key `gatway`", "did you mean `gateway`?", "gateway:\n  port: 4100\n"),
        ("routes: {default: mian}\n", "`routes.default` names the engine `mian`", "use `main`", "routes: {default: main}\n"),
        ("gateway:\n\tport: 4100\n", "x.yaml:2: found character '\\t' that cannot start any token", "", "gateway:\n    port: 4100\n"),
        ("gateway: {port: 1}\nroutes: {}\ngateway: {port: 2}\n", "x.yaml:3: the key `gateway` stands twice", "keep one", "routes: {}\ngateway: {port: 2}\n"),
        ("gateway: {port: many, host: localhost}\n", "`gateway.port`: expected a whole number, got text", "", "gateway: {host: localhost}\n"),
        ("gateway: {port: '4 100'}\n", "`gateway.port`: expected a whole number, got text", "", "gateway: {port: 4100}\n"),
        ("engines: {a: {url: http://b:1, args: {x: 1}, port: 2}}\n", "`engines.a` has both `url` and `port`: an engine", "", "engines: {a: {url: http://b:1}}\n"),
        ("engines: {a: {model: m, api_key: k}}\n", "`engines.a.api_key` must name an environment variable", "", "engines: {a: {model: m}}\n"),
        ("gateway: {host: 0.0.0.0}\n", "`gateway.host` is 0.0.0.0: other machines", "", "gateway: {host: 127.0.0.1}\n"),
    ],
)  # fmt: skip
def test_a_refused_configuration_is_corrected_as_its_own_words_say(
    home: Path, text: str, said: str, remedy: str, made: str
) -> None:
    file = home / "mine.yaml"
    file.write_text(text)
    refused = Finding("configuration.unusable", Status.FAIL, said, remedy=remedy, fix="stack.corrected")
    change = repair.propose(facts(home, config=file), refused)
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gateway: {port: 1, host: a}\ngateway: {port: 2}\n", "x.yaml:2: the key `gateway` stands twice"),
        ("engines: {a: {url: http://b:1, api_key: k}}\n", "`engines.a.api_key` must name an environment variable"),
    ],
)
def test_a_correction_that_would_lose_something_is_not_offered(home: Path, text: str, said: str) -> None:
    file = home / "mine.yaml"
    file.write_text(text)
    refused = Finding("configuration.unusable", Status.FAIL, said, fix="stack.corrected")
    assert repair.propose(facts(home, config=file), refused) is None


def test_settings_lose_their_comments_and_last_commas_only(home: Path) -> None:
    file = home / "settings.json"
    file.write_text('{\n  // mine\n  "env": {"A": "//x, }", /* b */},\n}\n')
    change = repair.propose(facts(home), finding("settings.proper", f"{file} is not JSON"))
    assert change is not None
    repair.apply(change, nothing)
    assert json.loads(file.read_text()) == {"env": {"A": "//x, }"}}


def test_settings_that_are_broken_otherwise_are_their_owners(home: Path) -> None:
    file = home / "settings.json"
    file.write_text('{"env": {"A": ')
    assert repair.propose(facts(home), finding("settings.proper", f"{file} is not JSON")) is None


def test_an_address_is_taken_from_the_other_deployments_only_when_they_agree(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND.replace(", api_base: http://127.0.0.1:8001/v1", ""))
    change = repair.propose(facts(home, hand=file), finding("litellm.base other"))
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == HAND.replace("8001", "8000")
    three = HAND + "  - {model_name: third, litellm_params: {model: openai/third}}\n"
    file.write_text(three)
    assert repair.propose(facts(home, hand=file), finding("litellm.base third")) is None


def test_every_repair_that_an_answer_names_exists() -> None:
    for name, (_, row) in answers.table().items():
        for step in filter(None, row.fix.split(" && ")):
            assert step.split()[0] in repair.NAMES, f"{name}: {step}"
