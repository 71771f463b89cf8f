"""Code that comes with a model is run only at a revision that the user agreed to, and never because of `--yes`."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from stackctl import host, output, paths, planning
from stackctl import trust as trusting
from stackctl.checks import code as checks
from stackctl.commands import provision
from stackctl.commands import trust as command
from stackctl.config import EngineConfig, GatewayConfig, Loaded, StackConfig
from stackctl.errors import ConfigError, PreflightError
from tests.fakes import machines
from tests.fakes.hub import COMMIT, Hub, Repo
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from stackctl.model import Finding
    from stackctl.planning import Prepared

CONFIG = json.dumps({
    "architectures": ["TheirsForCausalLM"], "model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Theirs"},
    "max_position_embeddings": 40960, "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 512,
}).encode()  # fmt: skip
FILES = {"config.json": CONFIG, "theirs.py": b"raise SystemExit('run')\n", "tokenizer.json": b"{}",
         "model.safetensors": b"\x02" + bytes(7) + b"{}"}  # fmt: skip


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr(host, "inspect", lambda _cache="": machines.host("1x24"))


@pytest.fixture
def local(tmp_path: Path) -> Path:
    directory = tmp_path / "theirs"
    directory.mkdir()
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    return directory


def prepared(model: object, **engine: object) -> Prepared:
    """A plan, on a machine where vLLM is installed and does not know this kind of model itself."""
    given = EngineConfig(model=str(model), port=free_port(), **engine)  # type: ignore[arg-type]
    config = StackConfig(engines={"main": given}, gateway=GatewayConfig(port=free_port()))
    made = planning.decide(Loaded(config, {"main": given}, None), machines.host("1x24"))
    installed = dataclasses.replace(made.plan.engine, toolchain=machines.ENGINE)
    return dataclasses.replace(made, plan=dataclasses.replace(made.plan, engines=(installed,)))


def findings(model: object, **engine: object) -> list[Finding]:
    return list(checks.here(prepared(model, **engine)))


def answer(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    monkeypatch.setattr(output, "has_terminal", lambda: True)


def test_a_directorys_code_is_agreed_to_as_it_is_and_asked_for_again_when_it_changes(local: Path) -> None:
    (found,) = findings(local)
    assert "brings its own Python code" in found.cause
    assert found.evidence == (str(local / "theirs.py"),)
    assert f"stackctl trust --code {local}" in found.remedy
    assert "--trust-remote-code" not in prepared(local).plan.engine.argv

    outcome = command.code(str(local))
    assert outcome.data["files"] == ["theirs.py"]
    made = prepared(local)
    assert "--trust-remote-code" in made.plan.engine.argv
    fact = next(each for each in made.plan.facts if each.name == "--trust-remote-code")
    assert (fact.origin, outcome.data["revision"][:12] in fact.detail) == ("file", True)
    assert findings(local) == []

    (local / "theirs.py").write_text("import antigravity\n")
    assert "--trust-remote-code" not in prepared(local).plan.engine.argv
    assert len(findings(local)) == 1


def test_the_configuration_counts_as_agreement_and_yes_does_not(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(local, trust_remote_code=True) == []
    answer(monkeypatch, "y\n")
    command.asked(prepared(local), yes=True)
    assert len(findings(local)) == 1, "--yes answers no such question"


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y\n", True), ("yes\n", True), ("\n", False), ("", False), ("n\n", False)]
)
def test_a_person_is_asked_once_and_only_a_written_yes_counts(
    local: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, agreed: bool
) -> None:
    answer(monkeypatch, typed)
    after = command.asked(prepared(local), yes=False)
    assert "theirs.py" in capsys.readouterr().err
    assert ("--trust-remote-code" in after.plan.engine.argv) == agreed
    assert bool(findings(local)) == (not agreed)
    if agreed:
        command.asked(prepared(local), yes=False)
        assert capsys.readouterr().err == "", "not a second time"


def test_without_a_terminal_nobody_is_asked(local: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.asked(prepared(local), yes=False)
    assert capsys.readouterr().err == ""


def test_a_hub_model_is_asked_for_before_its_weights_and_pinned_to_the_commit_agreed_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Hub({"acme/theirs": Repo(FILES)}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        (found,) = command.before_download(prepared("acme/theirs"), yes=True)
        assert f"stackctl trust --code acme/theirs@{COMMIT}" in found.remedy
        assert not any("safetensors" in request.path for request in hub.requests)

        outcome = command.code(f"acme/theirs@{COMMIT}")
        assert outcome.data["revision"] == COMMIT
        assert command.before_download(prepared("acme/theirs"), yes=True) == []
        assert not any("safetensors" in request.path for request in hub.requests)

        first = prepared("acme/theirs")
        provision.fetch_models(first)
        made = provision.measured(first)
    argv = made.plan.engine.argv
    assert "--trust-remote-code" in argv
    for flag in ("--revision", "--code-revision"):
        assert argv[argv.index(flag) + 1] == COMMIT
    trusting._write(set(), {"acme/theirs": ["f" * 40]})  # another commit was agreed to
    assert "--trust-remote-code" not in prepared("acme/theirs").plan.engine.argv
    assert len(findings("acme/theirs")) == 1


def test_a_family_that_needs_no_code_is_not_looked_up_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub({}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert command.before_download(prepared("openai/gpt-oss-20b"), yes=True) == []
        assert hub.requests == []


def test_before_vllm_is_installed_nothing_is_asked(local: Path) -> None:
    made = prepared(local)
    missing = dataclasses.replace(machines.ENGINE, installed=False)
    engine = dataclasses.replace(made.plan.engine, toolchain=missing)
    assert list(checks.here(dataclasses.replace(made, plan=dataclasses.replace(made.plan, engines=(engine,))))) == []


def test_both_kinds_of_trust_are_kept_and_a_spoilt_file_is_none(local: Path, tmp_path: Path) -> None:
    stack = tmp_path / "stack.yaml"
    stack.write_text("{}")
    command.code(str(local))
    command.run(str(stack))
    assert "--trust-remote-code" in prepared(local).plan.engine.argv
    command.code(str(local))
    assert trusting.content(str(stack), named=False) == b"{}"
    for spoilt in ("{", "[]", '{"code": []}', '{"code": {"a": 1}, "sha256": 3}'):
        with open(paths.trust_file(), "w", encoding="utf-8") as stream:
            stream.write(spoilt)
        assert "--trust-remote-code" not in prepared(local).plan.engine.argv


def test_what_has_no_code_or_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_bytes(CONFIG)
    with pytest.raises(ConfigError, match="brings no code"):
        command.code(str(plain))
    with pytest.raises(ConfigError, match="there is no directory"):
        command.code(os.path.join(str(tmp_path), "nowhere"))
    with Hub({}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(PreflightError):
            command.code("acme/nothing")
