"""The plan: what is derived, from what, and what contradicts."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from stackctl import config, plan, planning, redact, services
from stackctl.checks import preflight_model
from stackctl.config import Flags
from stackctl.errors import ConfigError
from stackctl.keys import Keys
from stackctl.model import Status
from stackctl.paths import StackPaths
from stackctl.plan import EnginePlan, Plan, RemoteFacts
from tests.fakes import machines

if TYPE_CHECKING:
    from pathlib import Path

    from stackctl.host import Host


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def made(tmp_path: Path, text: str, host: Host = machines.GPU, remote: RemoteFacts | None = None) -> Plan:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    return plan.build(machines.inputs(Flags(config=str(path)), host, remote))


def value(argv: tuple[str, ...], flag: str) -> str:
    assert argv.count(flag) == 1
    return argv[argv.index(flag) + 1]


def test_nothing_named_serves_the_embedded_model_with_a_window_that_claude_code_fits_in(tmp_path: Path) -> None:
    got = made(tmp_path, "", machines.CPU)
    assert value(got.engine.argv, "--model") == "/models/embedded"
    assert value(got.engine.argv, "--max-model-len") == "32768"
    assert got.engine.window == 32768
    assert got.output_limit == 256
    assert "--enforce-eager" in got.engine.argv


def test_a_known_family_gets_its_parsers_and_nothing_that_runs_its_code(tmp_path: Path) -> None:
    got = made(tmp_path, "engines: {a: {model: Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8}}")
    assert got.engine.tool_parser in {"qwen3_xml", "qwen3_coder"}
    assert "--enable-auto-tool-choice" in got.engine.argv
    assert "--trust-remote-code" not in got.engine.argv


def test_trust_remote_code_is_only_ever_the_users(tmp_path: Path) -> None:
    model = "NVIDIA/Nemotron-3-Nano"
    without = made(tmp_path, f"engines: {{a: {{model: {model}}}}}")
    assert "--trust-remote-code" not in without.engine.argv
    assert any("trust --code" in note for note in without.notes)
    assert (
        "--trust-remote-code"
        in made(tmp_path, f"engines: {{a: {{model: {model}, trust_remote_code: true}}}}").engine.argv
    )


def test_what_the_user_gives_in_args_replaces_what_is_derived(tmp_path: Path) -> None:
    text = "engines: {a: {model: Qwen/Qwen3-Coder-30B-A3B-Instruct, args: {tool-call-parser: hermes, enable-prefix-caching: false, seed: 3}}}"
    got = made(tmp_path, text)
    assert value(got.engine.argv, "--tool-call-parser") == "hermes"
    assert "--no-enable-prefix-caching" in got.engine.argv
    assert value(got.engine.argv, "--seed") == "3"
    fact = next(fact for fact in got.facts if fact.name == "--tool-call-parser")
    assert (fact.value, fact.origin) == ("hermes", "file")


def test_an_unknown_model_is_planned_and_the_missing_parser_said(tmp_path: Path) -> None:
    got = made(tmp_path, "engines: {a: {model: someone/Unheard-Of-7B}}")
    assert got.engine.tool_parser is None
    assert any("no tool-call parser is known" in note for note in got.notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{model: m, args: {port: 9}}", "args.port` is set by stackctl"),
        ("{model: m, args: {api-key: x}}", "args.api-key"),
        ("{model: m, args: {trust-remote-code: true}}", "args.trust-remote-code"),
        ("{model: m, max_model_len: 4096, args: {max-model-len: 8192}}", "both max_model_len and args.max-model-len"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")):
        made(tmp_path, f"engines: {{a: {text}}}")


def test_a_display_that_holds_gpu_memory_is_reckoned_with(tmp_path: Path) -> None:
    text = "engines: {a: {model: openai/gpt-oss-20b}}"
    assert "--gpu-memory-utilization" not in made(tmp_path, text, machines.GPU).engine.argv
    share = float(value(made(tmp_path, text, machines.GPU_WITH_DISPLAY).engine.argv, "--gpu-memory-utilization"))
    assert 0.7 < share < 20 / 24


@pytest.mark.parametrize(("window", "limit"), [(16384, 4096), (131072, 32000), (262144, 32000), (3, 1)])
def test_the_output_limit_fits_the_window(tmp_path: Path, window: int, limit: int) -> None:
    assert made(tmp_path, f"engines: {{a: {{model: m/x, max_model_len: {window}}}}}").output_limit == limit


def test_a_command_runs_in_place_of_vllm_with_its_flags(tmp_path: Path) -> None:
    got = made(tmp_path, "engines: {a: {model: my-model, command: [python3, my_server.py], port: 8123}}")
    assert got.engine.argv[:4] == ("python3", "my_server.py", "--model", "my-model")
    assert value(got.engine.argv, "--port") == "8123"


def test_direct_serves_every_name_from_the_engine_on_the_gateways_port(tmp_path: Path) -> None:
    got = made(tmp_path, "engines: {a: {model: m/x}}\ngateway: {kind: direct, port: 4321}\naliases: [mine]")
    at = got.engine.argv.index("--served-model-name")
    assert got.engine.argv[at + 1 : at + 5] == ("claude-local", "anthropic-local", "mine", "m/x")
    assert value(got.engine.argv, "--port") == "4321"
    assert got.gateway.argv == ()
    assert got.engine.url == got.gateway.url == "http://127.0.0.1:4321"
    assert any("direct:" in note for note in got.notes)


def test_a_remote_engine_says_its_own_name_and_window(tmp_path: Path) -> None:
    text = "engines: {box: {url: 'http://10.0.0.7:8000/v1/'}}"
    got = made(tmp_path, text, remote=RemoteFacts("their/model", 65536, speaks_messages=True))
    assert not got.engine.managed
    assert (got.engine.url, got.engine.served, got.engine.window) == ("http://10.0.0.7:8000", "their/model", 65536)
    assert got.models()[0]["model"] == "anthropic/their/model"
    with pytest.raises(ConfigError, match="does not answer"):
        made(tmp_path, text)


def test_a_remote_engine_without_messages_is_translated_for(tmp_path: Path) -> None:
    got = made(
        tmp_path, "engines: {box: {url: 'http://10.0.0.7:8000'}}", remote=RemoteFacts("m", None, speaks_messages=False)
    )
    assert {row["model"] for row in got.models()} == {"hosted_vllm/m"}


def test_the_digest_sees_flags_and_not_free_memory(tmp_path: Path) -> None:
    text = "engines: {a: {model: openai/gpt-oss-20b}}"
    one = made(tmp_path, text, machines.GPU_WITH_DISPLAY)
    fuller = dataclasses.replace(machines.GPU, gpus=(dataclasses.replace(machines.RTX4090, memory_free=15 * 2**30),))
    assert one.digest == made(tmp_path, text, fuller).digest
    assert one.digest != made(tmp_path, text + "\ngateway: {request_timeout: 601}", machines.GPU_WITH_DISPLAY).digest


def decided(tmp_path: Path, text: str, machine: str) -> planning.Prepared:
    """All of planning's steps for a configuration, on a recorded machine."""
    path = tmp_path / "given.yaml"
    path.write_text(text)
    return planning.decide(config.load(Flags(config=str(path)), {}), machines.host(machine))


@pytest.fixture
def _no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.mark.usefixtures("_no_cache")
def test_the_window_and_the_gpus_follow_from_the_machine(tmp_path: Path) -> None:
    text = "engines: {a: {model: Qwen/Qwen3.8-27B-FP8}}"
    engine = decided(tmp_path, text, "2x24").plan.engine
    assert value(engine.argv, "--tensor-parallel-size") == "2"
    assert value(engine.argv, "--max-model-len") == str(engine.window)
    assert engine.window is not None
    assert engine.window >= 65536
    facts = {fact.name: fact for fact in decided(tmp_path, text, "2x24").plan.facts}
    for flag in ("--max-model-len", "--tensor-parallel-size", "--max-num-seqs"):
        assert facts[flag].origin == "hardware"
        assert facts[flag].detail


@pytest.mark.usefixtures("_no_cache")
def test_gpus_that_are_not_needed_are_not_seen_by_the_engine(tmp_path: Path) -> None:
    plan_ = decided(tmp_path, "engines: {a: {model: openai/gpt-oss-20b}}", "8x80").plan
    assert plan_.engine.env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert plan_.engine.env["CUDA_VISIBLE_DEVICES"] in {"0", "1"}
    assert (
        "CUDA_VISIBLE_DEVICES"
        not in decided(tmp_path, "engines: {a: {model: openai/gpt-oss-20b}}", "1x24").plan.engine.env
    )


@pytest.mark.usefixtures("_no_cache")
def test_a_stack_that_uses_up_the_memory_it_was_planned_for_is_still_the_same(tmp_path: Path) -> None:
    text = "engines: {a: {model: openai/gpt-oss-20b}}"
    before = decided(tmp_path, text, "8x80")
    busy = dataclasses.replace(
        machines.host("8x80"),
        gpus=tuple(dataclasses.replace(gpu, memory_free=2**30) for gpu in machines.host("8x80").gpus),
    )
    after = planning.decide(before.loaded, busy)
    assert after.plan.engine.fit is not None
    assert after.plan.engine.fit.refusal
    assert before.plan.digest == after.plan.digest


@pytest.mark.usefixtures("_no_cache")
@pytest.mark.parametrize(
    ("machine", "text", "says", "remedy"),
    [
        ("1x24", "{model: Qwen/Qwen3.8-27B}", "its recipe asks for 67.0 GB", "--model Qwen/Qwen3.5-27B-GPTQ-Int4"),
        ("2x24", "{model: Qwen/Qwen3.8-27B}", "its recipe asks for 67.0 GB", "--model Qwen/Qwen3.8-27B-FP8"),
        ("laptop_8", "{model: openai/gpt-oss-20b}", "its recipe asks for 16.0 GB", "models explain"),
        (
            "1x24",
            "{model: Qwen/Qwen3.5-27B-GPTQ-Int4, max_model_len: 200000}",
            "a window of 200000 tokens",
            "models explain",
        ),
        ("1x24", "{model: nvidia/Qwen3.6-27B-NVFP4}", "cannot compute with nvfp4", "--model"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_downloaded(
    tmp_path: Path, machine: str, text: str, says: str, remedy: str
) -> None:
    found = [
        each for each in preflight_model.memory(decided(tmp_path, f"engines: {{a: {text}}}", machine)) if each.cause
    ]
    assert len(found) == 1
    assert found[0].status is Status.FAIL
    assert says in found[0].cause
    assert remedy in found[0].remedy


@pytest.mark.usefixtures("_no_cache")
def test_memory_that_the_user_manages_is_not_summed(tmp_path: Path) -> None:
    text = "engines: {a: {model: Qwen/Qwen3.8-27B-FP8, args: {cpu-offload-gb: 20}}}"
    prepared = decided(tmp_path, text, "1x24")
    assert prepared.plan.engine.fit is None
    assert list(preflight_model.memory(prepared)) == []


@pytest.mark.usefixtures("_no_cache")
def test_what_the_user_gives_of_the_memory_is_planned_with(tmp_path: Path) -> None:
    args = "{tensor-parallel-size: 4, kv-cache-dtype: fp8, max-num-seqs: 8, gpu-memory-utilization: 0.5}"
    engine = decided(tmp_path, f"engines: {{a: {{model: Qwen/Qwen3.8-27B-FP8, args: {args}}}}}", "8x80").plan.engine
    assert engine.fit is not None
    assert (engine.fit.tp, engine.fit.cache, engine.fit.sequences, engine.fit.utilization) == (4, "fp8", 8, 0.5)
    assert engine.argv.count("--tensor-parallel-size") == 1


def test_only_a_model_that_sees_takes_images(tmp_path: Path) -> None:
    sees = made(tmp_path, "engines: {a: {model: Qwen/Qwen3.5-27B-GPTQ-Int4}}")
    blind = made(tmp_path, "engines: {a: {model: openai/gpt-oss-20b}}")
    assert {row["supports_vision"] for row in sees.models()} == {True}
    assert {row["supports_vision"] for row in blind.models()} == {False}


CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 1024,
    "vocab_size": 32000,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_hidden_layers": 8,
    "max_position_embeddings": 65536,
}


def test_a_checkpoint_of_no_known_name_is_planned_from_its_files(tmp_path: Path) -> None:
    model = tmp_path / "my-finetune"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(CONFIG))
    (model / "model.safetensors").write_bytes(b"\0" * 1000)
    (model / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": "{% if tools %}<tool_call>{{ tools | tojson }} arguments</tool_call>{% endif %}"})
    )
    plan_ = decided(tmp_path, f"engines: {{a: {{model: {model}}}}}", "1x24").plan
    assert plan_.engine.window == 65536
    assert plan_.engine.tool_parser == "hermes"
    assert plan_.engine.fit is not None
    assert plan_.engine.fit.size.weights == 1000
    assert any("guessed from its chat template" in note for note in plan_.notes)


@pytest.mark.usefixtures("_no_cache")
@pytest.mark.parametrize(
    ("model", "own_format"),
    [("mistralai/Devstral-Small-2507", True), ("someone/Devstral-Small-2507-AWQ", False)],
)
def test_mistrals_own_format_is_asked_for_only_where_it_is(tmp_path: Path, model: str, own_format: bool) -> None:
    plan_ = decided(tmp_path, f"engines: {{a: {{model: {model}}}}}", "1x80").plan
    assert ("--tokenizer-mode" in plan_.engine.argv) == own_format
    assert ("--chat-template" in plan_.engine.argv) == (not own_format)


def several(tmp_path: Path, machine: str, **engines: str) -> Plan:
    """Engines that share a machine; the first answers by default."""
    text = f"engines: {{{', '.join(f'{name}: {given}' for name, given in engines.items())}}}"
    return decided(tmp_path, f"{text}\nroutes: {{default: {next(iter(engines))}}}", machine).plan


def share(engine: EnginePlan) -> float:
    """What of the whole device vLLM is told to take."""
    found = engine.argv.index("--gpu-memory-utilization") if "--gpu-memory-utilization" in engine.argv else None
    return 0.92 if found is None else float(engine.argv[found + 1])


@pytest.mark.usefixtures("_no_cache")
def test_two_engines_on_one_gpu_fit_beside_each_other(tmp_path: Path) -> None:
    made_ = several(tmp_path, "1x80", big="{model: Qwen/Qwen3.5-27B-GPTQ-Int4}", small="{model: openai/gpt-oss-20b}")
    total = machines.host("1x80").gpus[0].memory_total
    free = machines.host("1x80").gpus[0].memory_free
    for engine in made_.engines:
        assert engine.fit is not None
        assert engine.fit.refusal == ""
        assert engine.window is not None
        assert engine.window >= 32768
        assert engine.env["CUDA_VISIBLE_DEVICES"] == "0"
    taken = sum(share(each) * total for each in made_.engines)
    assert taken < free
    assert taken > 0.8 * free
    assert any("2 engines share this machine; big gets" in note for note in made_.notes)
    assert (
        made_.digest
        == several(
            tmp_path, "1x80", big="{model: Qwen/Qwen3.5-27B-GPTQ-Int4}", small="{model: openai/gpt-oss-20b}"
        ).digest
    )


@pytest.mark.usefixtures("_no_cache")
def test_two_engines_on_several_gpus_have_gpus_of_their_own(tmp_path: Path) -> None:
    made_ = several(tmp_path, "8x80", big="{model: Qwen/Qwen3.8-27B-FP8}", small="{model: openai/gpt-oss-20b}")
    seen = [set(engine.env["CUDA_VISIBLE_DEVICES"].split(",")) for engine in made_.engines]
    assert not seen[0] & seen[1]
    assert all(share(each) >= 0.9 for each in made_.engines)


@pytest.mark.usefixtures("_no_cache")
def test_what_does_not_fit_beside_the_other_engine_is_refused_by_its_name(tmp_path: Path) -> None:
    text = "engines: {a: {model: Qwen/Qwen3.5-27B-GPTQ-Int4}, b: {model: openai/gpt-oss-20b}}\nroutes: {default: a}"
    found = [each for each in preflight_model.memory(decided(tmp_path, text, "1x24")) if each.status is Status.FAIL]
    assert found
    assert "in what the engine `" in found[0].cause


@pytest.mark.usefixtures("_no_cache")
def test_a_share_that_is_written_is_kept_and_the_others_get_the_rest(tmp_path: Path) -> None:
    fixed = "{model: openai/gpt-oss-20b, args: {gpu-memory-utilization: 0.5}}"
    made_ = several(tmp_path, "1x80", rest="{model: Qwen/Qwen3.5-27B-GPTQ-Int4}", fixed=fixed)
    assert share(made_.engines[1]) == 0.5
    assert 0.3 < share(made_.engines[0]) < 0.5
    with pytest.raises(ConfigError, match=r"gpu-memory-utilization` is 0\.6, and with the other engines' that is 1\.1"):
        several(tmp_path, "1x80", fixed=fixed, more=fixed.replace("0.5", "0.6"))


@pytest.mark.usefixtures("_no_cache")
def test_engines_on_a_processor_share_its_memory(tmp_path: Path) -> None:
    made_ = several(
        tmp_path,
        "cpu_only",
        tiny="{model: embedded}",
        one="{model: someone/Unheard-Of-1B}",
        two="{model: other/Unheard}",
    )
    host = machines.host("cpu_only")
    shares = [float(value(each.argv, "--gpu-memory-utilization")) for each in made_.engines]
    assert sum(shares) * host.memory_total <= host.memory_available
    assert shares[1] == shares[2]


def test_routes_lead_where_they_say_and_a_name_means_one_engine(tmp_path: Path) -> None:
    got = made(
        tmp_path,
        "engines: {a: {model: m/x, port: 8101}, b: {model: m/y, port: 8102}, c: {model: m/x, port: 8103}}\n"
        "routes: {default: a, haiku: b, gpt-4o: c, opus: {hosted: openai/gpt-5, api_key: env/OPENAI_API_KEY}}\n"
        "aliases: [mine]",
    )
    rows = {row["name"]: row for row in got.models()}
    assert {name: row["api_base"] for name, row in rows.items()} == {
        "claude-local": "http://127.0.0.1:8101",
        "anthropic-local": "http://127.0.0.1:8101",
        "mine": "http://127.0.0.1:8101",
        "claude-local-haiku": "http://127.0.0.1:8102",
        "anthropic-local-haiku": "http://127.0.0.1:8102",
        "gpt-4o": "http://127.0.0.1:8103",
        "claude-local-opus": None,
        "anthropic-local-opus": None,
        "m/x": "http://127.0.0.1:8101/v1",
        "m/y": "http://127.0.0.1:8102/v1",
    }
    keys = {row["api_key"] for row in rows.values()}
    assert keys == {
        f"os.environ/STACKCTL_{each}" for each in ("ENGINE_A_KEY", "ENGINE_B_KEY", "ENGINE_C_KEY", "HOSTED_1_KEY")
    }
    assert rows["claude-local-haiku"]["bearer"] == "os.environ/STACKCTL_ENGINE_B_BEARER"
    assert rows["claude-local-opus"]["bearer"] is None
    assert [each.service for each in got.engines] == ["a", "b", "c"]
    assert any("both serve m/x" in note for note in got.notes)


def test_a_route_does_not_take_the_name_that_old_versions_are_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`routes\.anthropic-local` takes a name"):
        made(tmp_path, "engines: {a: {model: m/x}}\nroutes: {anthropic-local: a}")


def test_the_routes_are_part_of_the_plan(tmp_path: Path) -> None:
    text = "engines: {a: {model: m/x}}\nroutes: {opus: a}"
    one = made(tmp_path, text)
    assert one.digest != made(tmp_path, text.replace("opus", "haiku")).digest
    names = ["claude-local", "anthropic-local", "claude-local-opus", "anthropic-local-opus", "m/x"]
    assert [row["name"] for row in one.models()] == names
    assert one.engine.service == "engine"


def test_a_providers_key_goes_to_the_gateway_alone_and_an_engines_to_that_engine(tmp_path: Path) -> None:
    got = made(
        tmp_path,
        "engines: {a: {model: m/x}, b: {model: m/y}, box: {url: 'http://10.0.0.7:8000', model: m/z, api_key: env/VLLM_BOX_KEY}}\n"
        "routes: {default: a, opus: {hosted: nvidia_nim/x, api_key: env/NVIDIA_API_KEY}}",
    )
    engine_keys = {"a": "key-of-a", "b": "key-of-b", "box": "key-of-box"}
    keys = Keys("client", engine_keys, "master", {"STACKCTL_HOSTED_1_KEY": "key-of-nvidia"})
    environ = {"NVIDIA_API_KEY": "key-of-nvidia", "VLLM_BOX_KEY": "key-of-box", "ANTHROPIC_API_KEY": "no"}
    environ |= {"HF_TOKEN": "hf", "PATH": "/bin"}
    a, b, gateway = services.specs(got, StackPaths("default"), keys, str(tmp_path), environ)
    for spec, own in ((a, "key-of-a"), (b, "key-of-b")):
        secrets = {text for text in spec.env.values() if "key-of" in text or text in {"master", "client", "no"}}
        assert secrets == {own}
        assert spec.log.endswith(f"{spec.name}.log")
    held = " ".join(gateway.env.values())
    for key in ("key-of-a", "key-of-b", "key-of-nvidia", "master", "client"):
        assert key in held
    assert not {"ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "NVIDIA_API_KEY", "HF_TOKEN"} & gateway.env.keys()
    behind = json.loads(gateway.env["STACKCTL_ENGINES"])
    services_ = {name: to["service"] for name, to in behind.items()}
    assert services_ == {"claude-local": "a", "anthropic-local": "a", "m/x": "a", "m/y": "b", "m/z": "box"}
    assert all(to["count"] for to in behind.values())
    assert "key-of" not in gateway.env["STACKCTL_ENGINES"]
    assert redact.secrets_in(gateway.env) == {*engine_keys.values(), "key-of-nvidia", "master", "client"}


@pytest.mark.usefixtures("_no_cache")
def test_engines_on_one_gpu_start_one_after_the_other_and_others_side_by_side(tmp_path: Path) -> None:
    engines = {"big": "{model: Qwen/Qwen3.5-27B-GPTQ-Int4}", "small": "{model: openai/gpt-oss-20b}"}
    keys = Keys("c", {"big": "x", "small": "y"}, "m")
    waits = {}
    for machine in ("1x80", "8x80", "cpu_only"):
        made_ = several(tmp_path, machine, **engines)
        specs = services.specs(made_, StackPaths("default"), keys, str(tmp_path), {"PATH": "/bin"})
        waits[machine] = {spec.name: spec.after for spec in specs if spec.after}
    assert waits == {"1x80": {"small": ("big",)}, "8x80": {}, "cpu_only": {}}


@pytest.mark.usefixtures("_no_cache")
@pytest.mark.parametrize(("model", "sees"), [("Qwen/Qwen3.8-27B-FP8", True), ("openai/gpt-oss-20b", False)])
def test_a_model_that_sees_keeps_no_memory_for_films_and_the_gateway_is_told(
    tmp_path: Path, model: str, sees: bool
) -> None:
    plan_ = decided(tmp_path, f"engines: {{a: {{model: {model}}}}}", "1x80").plan
    argv = plan_.engine.argv
    assert ("--limit-mm-per-prompt" in argv) == sees
    assert not sees or argv[argv.index("--limit-mm-per-prompt") + 1] == '{"video":0}'
    assert {row["supports_vision"] for row in plan_.models()} == {sees}
    own = "{limit-mm-per-prompt: {image: 2, video: 1}}"
    asked = decided(tmp_path, f"engines: {{a: {{model: {model}, args: {own}}}}}", "1x80").plan.engine.argv
    assert asked.count("--limit-mm-per-prompt") == 1
    assert '{"image":2,"video":1}' in asked
