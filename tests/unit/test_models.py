"""`stackctl models`: what is said of machines and models, and a model had before it is needed."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stackctl import host, planning
from stackctl.commands import models as command
from stackctl.commands import provision
from stackctl.config import EngineConfig, GatewayConfig, Loaded, StackConfig
from stackctl.errors import ConfigError, PreflightError
from tests.fakes import machines
from tests.fakes.hub import Hub, Repo

if TYPE_CHECKING:
    from pathlib import Path

    from stackctl.output import Outcome

FILES = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "vocab_size": 256,'
    b'"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "max_position_embeddings": 40960}',
    "tokenizer.json": b"{}",
    "model.safetensors": os.urandom(3 * 1024 * 1024),
}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGINGFACE_", "HUGGING_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)


def on(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    monkeypatch.setattr(host, "inspect", lambda _cache="": machines.host(machine))


def listed(outcome: Outcome) -> list[str]:
    return [row[0] for row in outcome.table[1]] if outcome.table else []


@pytest.mark.parametrize(
    ("machine", "first", "says"),
    [
        ("1x24", "Qwen/Qwen3.5-27B-GPTQ-Int4", "RTX 4090"),
        ("1x16", "openai/gpt-oss-20b", "RTX 4080"),
        ("1x80", "Qwen/Qwen3.8-27B-FP8", "H100"),
        ("laptop_8", None, "below the floor"),
        ("mac", None, "there is no build of vLLM for macOS"),
        ("amd_24", "Qwen/Qwen3.5-27B-GPTQ-Int4", "environment of your own with vLLM for ROCm"),
        ("driver_broken", None, "Driver/library version mismatch"),
        ("container_without_gpu", None, "docker run --gpus all"),
    ],
)
def test_each_machine_is_told_what_suits_it_and_what_does_not(
    monkeypatch: pytest.MonkeyPatch, machine: str, first: str | None, says: str
) -> None:
    on(monkeypatch, machine)
    outcome = command.run()
    assert any(says in line for line in outcome.lines), outcome.lines
    if first is not None:
        assert listed(outcome)[0] == first
    if machine in {"laptop_8", "mac"}:
        assert listed(outcome) == []


def test_the_list_is_also_there_for_scripts_with_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    outcome = command.run(every=True)
    data = json.loads(json.dumps(outcome.data))
    assert len(data["models"]) == len(listed(outcome)) >= 40
    fits = [each for each in data["models"] if each["fits"]]
    assert all(each["window"] is None or each["window"] >= 16384 for each in fits)
    assert all(each["refusal"] for each in data["models"] if not each["fits"])
    assert {"speed", "disk_gb", "agent", "licence", "gated", "sure"} <= data["models"][0].keys()


def test_the_sum_adds_up_and_its_flags_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    outcome = command.explained("Qwen/Qwen3.5-27B-GPTQ-Int4")
    assert outcome.exit_code == 0
    for word in ("vLLM may use", "weights", "left for conversations", "one conversation", "window"):
        assert word in outcome.stdout
    assert "--kv-cache-dtype fp8" in outcome.stdout
    assert "counted from the model's own configuration" in outcome.stdout
    parts = outcome.data["bytes"]
    assert parts["weights"] + parts["working"] + parts["pool"] <= parts["budget"]


def test_a_model_that_does_not_fit_is_refused_with_its_variant_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    outcome = command.explained("Qwen/Qwen3.5-27B")
    assert outcome.exit_code == 1
    assert "no: its recipe asks for 65.0 GB" in outcome.stdout
    assert "instead: Qwen/Qwen3.5-27B-GPTQ-Int4" in outcome.stdout
    on(monkeypatch, "laptop_8")
    assert (
        "instead: no model that can work as an agent fits here: a hosted one"
        in command.explained("openai/gpt-oss-20b").stdout
    )


@pytest.mark.parametrize("name", ["", " ", "a/b\n", "--help", "embedded"])
def test_what_is_no_models_name_is_refused_without_asking_the_hub(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with Hub({}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(ConfigError):
            command.explained(name)
        with pytest.raises(ConfigError):
            command.pull(name, revision=None)


def test_what_is_not_known_is_asked_for_and_a_near_name_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    with Hub({}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(PreflightError, match="someone/Unheard-Of-7B"):
            command.explained("someone/Unheard-Of-7B")
    with pytest.raises(ConfigError) as near:
        command.show("Qwen/Qwen3.6-27b-F8")
    assert "Qwen/Qwen3.6-27B-FP8" in near.value.remedy


def test_what_is_known_is_shown_with_who_said_it() -> None:
    text = command.show("openai/gpt-oss-20b").stdout
    for word in (
        "apache-2.0 (whatmodel:gpt-oss-20b)",
        "34% of SWE-bench Verified",
        "openai (doc",
        "aic:openai--gpt-oss-20b",
    ):
        assert word in text
    gated = command.show("meta-llama/Llama-3.3-70B-Instruct").stdout
    assert "yes: accept its terms" in gated
    assert "examples/tool_chat_template_llama3.1_json.jinja of vLLM's source" in gated


def test_a_model_is_pulled_from_the_hub_and_its_size_then_read_from_its_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on(monkeypatch, "1x24")
    with Hub({"acme/tiny": Repo(FILES)}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        outcome = command.pull("acme/tiny", revision=None)
    assert sorted(os.listdir(outcome.data["path"])) == sorted(FILES)
    known = command.explained("acme/tiny")
    assert known.exit_code == 0
    assert known.data["window"] == 40960
    assert "config.json" in known.stdout
    capsys.readouterr()


def test_up_plans_a_model_that_nobody_knows_again_when_its_files_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        engine, gateway = one.getsockname()[1], two.getsockname()[1]
    given = EngineConfig(model="acme/tiny", port=engine)
    config = StackConfig(engines={"main": given}, gateway=GatewayConfig(port=gateway))
    before = planning.decide(Loaded(config, {"main": given}, None), machines.host("1x24"))
    assert before.plan.engine.fit is None
    assert any("no tool-call parser is known" in note for note in before.plan.notes)
    with Hub({"acme/tiny": Repo(FILES)}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        command.pull("acme/tiny", revision=None)
    after = provision.measured(before)
    assert after.plan.engine.window == 40960


def test_a_gated_model_says_what_to_do_and_a_path_is_not_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "1x24")
    with Hub({"acme/closed": Repo(FILES, gated=True, token="hf_right")}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(PreflightError) as caught:
            command.pull("acme/closed", revision=None)
    assert "HF_TOKEN" in caught.value.remedy or "HF_TOKEN" in caught.value.message
    with pytest.raises(ConfigError, match="is a path"):
        command.pull("/models/mine", revision=None)


def test_on_the_command_line_lists_go_where_pipes_want_them() -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stackctl", "models", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    plain, listing, as_json = run(), run("list"), run("--json")
    assert plain.returncode == listing.returncode == as_json.returncode == 0
    assert plain.stdout == ""
    assert (
        plain.stderr.splitlines()[0] == listing.stderr.splitlines()[0]
    )  # the rest follows from what is free just then
    assert json.loads(as_json.stdout)["schema"] == 1
    shown = run("show", "openai/gpt-oss-20b")
    assert shown.stdout.startswith("openai/gpt-oss-20b\n")


def test_a_model_that_nobody_knows_is_planned_from_what_the_hub_says_before_its_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on(monkeypatch, "1x24")
    given = EngineConfig(model="acme/tiny")
    template = b"{% if tools %}<tool_call>{{ tools | tojson }} arguments</tool_call>{% endif %}"
    with Hub({"acme/tiny": Repo({**FILES, "chat_template.jinja": template})}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        loaded = Loaded(StackConfig(engines={"main": given}), {"main": given}, None)
        planned = provision.looked_up(planning.decide(loaded, machines.host("1x24")))
        assert command.explained("acme/tiny").data["window"] == 40960
        assert not any("safetensors" in request.path for request in hub.requests)
    engine = planned.plan.engine
    assert (engine.window, engine.tool_parser) == (40960, "hermes")
    assert engine.fit is not None
    assert engine.fit.size.weights == len(FILES["model.safetensors"])
    large = dataclasses.replace(planned.heads["main"], weights=60 * 10**9)
    refused = planning.decide(loaded, machines.host("1x24"), heads={"main": large}).plan.engine.fit
    assert refused is not None
    assert "60.0 GB of weights" in refused.refusal
