"""What is typed wrongly to doctor is a mistake in the command line (2); what is there and broken is a finding (1). No password is shown."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from stackctl import trust
from stackctl.checks import bundle, facts, roster, runner
from stackctl.commands import doctor, doctor_request
from stackctl.commands.doctor_request import Request
from stackctl.config import Flags
from stackctl.errors import USAGE, ConfigError
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "canary-password"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request(Flags(name="Bad Name")), "--name 'Bad Name' is not"),
        (Request(Flags(name="")), "--name '' is not"),
        (Request(Flags(config="gone.yaml")), "there is no configuration file gone.yaml"),
        (Request(Flags(config="")), "--config is empty"),
        (Request(Flags(config=".")), "--config . cannot be read: Is a directory"),
        (Request(Flags(model="")), "is not a model name"),
        (Request(Flags(model="--help")), "is not a model name"),
        (Request(Flags(model="what is this!")), "is not a model name"),
        (Request(Flags(model="./nowhere")), "there is no such directory"),
        (Request(Flags(model="a/b/c")), "there is no such directory"),
        (Request(Flags(model=" "), url="http://127.0.0.1:1"), "is not a model name"),
        (Request(Flags(), url="ftp://127.0.0.1"), "--url is not an http address: ftp://127.0.0.1"),
        (Request(Flags(), url=f"http://me:{PASSWORD}@127.0.0.1:1"), "--url has a name or password in it"),
        (Request(Flags(), url="http://sk-only-a-token@127.0.0.1:1"), "--url has a name or password in it"),
        (
            Request(Flags(), url=f"ftp://me:{PASSWORD}@127.0.0.1:1"),
            "--url is not an http address: ftp://me:<redacted>@",
        ),
        (Request(Flags(), report="nowhere/report.md"), "there is no such directory"),
        (Request(Flags(), report="."), "--report . is there already"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_looked_at(request_: Request, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        doctor.run(request_)
    assert refused.value.exit_code == USAGE
    assert says in refused.value.message
    assert refused.value.remedy
    assert PASSWORD not in f"{refused.value.message}{refused.value.remedy}"


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("box:8000", "http://box:8000"),
        (" http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/?x=1", "http://127.0.0.1:8000/"),
        ("http://127.0.0.1:8000#x", "http://127.0.0.1:8000"),
        ("unix:///tmp/x.sock", "http://127.0.0.1:8000"),
    ],
)
def test_an_address_is_corrected_where_it_can_be(url: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as refused:
        doctor_request.check(Request(Flags(), url=url))
    assert refused.value.remedy.endswith(f"  {remedy}")


def test_a_pipe_is_no_configuration_and_nobody_waits_at_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="it is a pipe"):
        doctor_request.check(Request(Flags(config="pipe")))
    with pytest.raises(ConfigError, match="it is a pipe"):
        trust.content(str(tmp_path / "pipe"), named=True)
    assert trust.content(os.devnull, named=True) == b""


def test_what_is_meant_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("engines: [")
    (tmp_path / "model").mkdir()
    for flags in (
        Flags(name="never-there"), Flags(config="broken.yaml"), Flags(model="model"), Flags(model="embedded"),
        Flags(model="Qwen/Qwen3-8B"), Flags(model=str(tmp_path / "model")), Flags(model="~/model"),
    ):  # fmt: skip
        doctor_request.check(Request(flags))
    doctor_request.check(Request(Flags(model="gpt-oss:20b"), url="http://127.0.0.1:1"))
    found = doctor.run(Request(Flags(config="broken.yaml"), static=True))
    assert found.exit_code == 1
    assert "broken.yaml:2" in str(found.data)


def test_a_configuration_that_is_gone_is_looked_at_by_the_stack_that_was_started_from_it(tmp_path: Path) -> None:
    paths = StackPaths("mine")
    (tmp_path / "state/stacks/mine").mkdir(parents=True)
    with open(paths.ports, "w", encoding="utf-8") as stream:
        json.dump({"config": str(tmp_path / "gone.yaml")}, stream)
    doctor_request.check(Request(Flags(config="gone.yaml")))


def test_no_password_of_an_address_is_shown(tmp_path: Path) -> None:
    address = f"http://me:{PASSWORD}@127.0.0.1:1"
    file = tmp_path / "litellm_config.yaml"
    row = {
        "model_name": "local",
        "litellm_params": {"model": "openai/x", "api_base": f"{address}/v1", "api_key": "none"},
    }
    file.write_text(json.dumps({"model_list": [row]}))
    environ = {
        "HOME": str(tmp_path),
        "ANTHROPIC_BASE_URL": f"{address}/v1",
        "HTTP_PROXY": address,
        "ANTHROPIC_API_KEY": "x",
    }
    for hand in (None, str(file)):
        seen = facts.gather(Flags(config=hand), litellm_config=hand, environ=environ, static=False)
        found = runner.run(roster.checks(seen), seen, budget=20)
        shown = json.dumps([asdict(each) for each in found])
        assert "me:<redacted>@127.0.0.1" in shown
        assert PASSWORD not in shown
        assert PASSWORD not in bundle.text(seen, found, found[0].cause)


@pytest.mark.parametrize(
    ("content", "whose"),
    [
        (b"model_list:\n- model_name: a\n", True),
        (b"\xef\xbb\xbfmodel_list: []\n", True),
        (b'{"general_settings": {}, "model_list": []}', True),
        (b"", True),
        (b"engines:\n  main: {model: embedded}  # not model_list: of LiteLLM's\n", False),
    ],
)
def test_whose_a_configuration_file_is(tmp_path: Path, content: bytes, whose: bool) -> None:
    file = tmp_path / "litellm_config.yaml"
    file.write_bytes(content)
    assert doctor_request.is_litellm(str(file)) is whose
