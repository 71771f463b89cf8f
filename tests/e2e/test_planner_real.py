"""The planner against the real vLLM: its argument parser takes every plan, and its own sum of the cache is ours."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import architecture, chat_templates, host, planning, sizes, vllm_registry
from stackctl.catalog import families, models, registries
from stackctl.config import EngineConfig, Loaded, StackConfig
from stackctl.model import ServiceKind
from stackctl.plan import fit as fitting
from stackctl.plan import memory
from stackctl.toolchain import install, locate
from tests.fakes import machines
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from stackctl.toolchain import Toolchain
    from tests.fakes.stack import Stack

pytestmark = pytest.mark.e2e

# As `python -m vllm.entrypoints.openai.api_server` does before it starts anything (launchers/api_server/entry.py).
PARSE = """
import contextlib, io, json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
answers = []
for argv in json.load(sys.stdin):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            args = parser.parse_args(argv)
            validate_parsed_serve_args(args)
        answers.append({"error": "", "window": args.max_model_len, "tp": args.tensor_parallel_size,
                        "names": args.served_model_name, "tool": args.tool_call_parser})
    except SystemExit:
        answers.append({"error": said.getvalue()[-300:]})
    except Exception as error:
        answers.append({"error": repr(error)[-300:]})
print("ANSWERS" + json.dumps(answers))
"""
MACHINES = ("1x16", "1x24", "2x24", "1x32", "1x48", "1x80", "8x80", "cpu_only", "driver_broken")


@pytest.fixture(scope="module")
def engine() -> Toolchain:
    found = locate(ServiceKind.ENGINE, configured_python=None, accelerator="cpu")
    return found if found.installed else install(found, on_progress=print)


def run(engine: Toolchain, program: str, given: str = "", within: float = 240.0) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "VLLM_", "PYTHON"))}
    env |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run(
        [engine.python, "-c", program],
        input=given,
        capture_output=True,
        text=True,
        env=env,
        timeout=within,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def parsed(engine: Toolchain, argvs: list[list[str]]) -> list[dict[str, Any]]:
    text = run(engine, PARSE, json.dumps(argvs))
    answers: list[dict[str, Any]] = json.loads(text.rsplit("ANSWERS", 1)[1])
    assert len(answers) == len(argvs)
    return answers


def plan_of(model: str, machine: str, **engine: Any) -> planning.Prepared:
    config = EngineConfig(model=model, **engine)
    loaded = Loaded(StackConfig(engines={"main": config}), {"main": config}, None)
    return planning.decide(loaded, machines.host(machine))


def words(prepared: planning.Prepared) -> list[str]:
    argv = prepared.plan.engine.argv
    return list(argv[argv.index("--model") :])


@pytest.mark.timeout(900)
def test_vllms_own_parser_takes_every_argv_that_is_planned_and_refuses_a_wrong_one(
    engine: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    for template in chat_templates.record().files:  # vLLM looks whether the file is there
        with open(chat_templates.ensure(template, "main", on_progress=print), encoding="utf-8") as stream:
            assert "tools" in stream.read(), template
    named: list[str] = []
    argvs: list[list[str]] = []
    fits = 0
    for machine in MACHINES:
        for model in models.table():
            for variant in model.variants:
                prepared = plan_of(variant.id, machine)
                fit = prepared.plan.engine.fit
                assert fit is not None
                fits += not fit.refusal
                named.append(f"{variant.id} on {machine}")
                argvs.append(words(prepared))
    for family in families.catalogue().families:  # every family's flags and parsers, by the names it is known by
        for name in family.examples:
            named.append(name)
            argvs.append(words(plan_of(name, "8x80")))
    named.append("embedded")
    argvs.append(words(plan_of("embedded", "cpu_only")))
    unique = {json.dumps(argv): name for name, argv in zip(named, argvs, strict=True)}
    good = words(plan_of("openai/gpt-oss-20b", "1x24"))
    bad = [[*good, "--tensor-paralel-size", "2"], [*good, "--max-num-seqs", "many"], [*good, "--kv-cache-dtype", "fp9"]]
    # all at once: vLLM takes its time to be imported
    *answers, first, one, two, three = parsed(engine, [*(json.loads(argv) for argv in unique), good, *bad])
    wrong = {name: answer["error"] for name, answer in zip(unique.values(), answers, strict=True) if answer["error"]}
    assert wrong == {}
    assert any("--chat-template" in argv for argv in argvs)
    assert fits > 150
    assert len(unique) > 200
    assert not first["error"]
    assert (first["window"], first["names"], first["tool"]) == (131072, ["openai/gpt-oss-20b"], "openai")
    assert all(other["error"] for other in (one, two, three))


def test_every_parser_that_a_plan_names_is_one_that_the_installed_vllm_has(engine: Toolchain) -> None:
    tools = vllm_registry.tool_parsers(engine.site_packages)
    reasoning = vllm_registry.reasoning_parsers(engine.site_packages)
    recorded = registries.of_version(engine.version)
    assert (tools, reasoning) == (frozenset(recorded.tool), frozenset(recorded.reasoning))
    assert tools
    assert reasoning
    for family in families.catalogue().families:
        if family.tool and family.needs_plugin is None and registries.parser_for(engine.version, family.tool):
            assert registries.parser_for(engine.version, family.tool) in tools
        if family.reasoning and (name := registries.parser_for(engine.version, family.reasoning, kind="reasoning")):
            assert name in reasoning


# Tiny checkpoints of six architectures, made by transformers itself with random weights; then vLLM's own view of
# their cache, layer by layer, without an engine.
MAKE = """
import json, sys, torch, transformers as t
where = sys.argv[-1] if len(sys.argv) > 1 else json.load(sys.stdin)
base = dict(vocab_size=512, hidden_size=64, intermediate_size=128, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=32768, head_dim=16, tie_word_embeddings=False)
kinds = {
    "llama": t.LlamaConfig(num_hidden_layers=3, **base),
    "qwen3": t.Qwen3Config(num_hidden_layers=2, **base),
    "qwen3_moe": t.Qwen3MoeConfig(num_hidden_layers=2, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
                                  **base),
    "gpt_oss": t.GptOssConfig(num_hidden_layers=4, num_local_experts=4, num_experts_per_tok=2, sliding_window=128,
                              **base),
    "qwen3_next": t.Qwen3NextConfig(num_hidden_layers=4, num_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=32, shared_expert_intermediate_size=32, linear_num_key_heads=2, linear_num_value_heads=4,
        linear_key_head_dim=16, linear_value_head_dim=16, linear_conv_kernel_dim=4, **base),
    "deepseek_v3": t.DeepseekV3Config(num_hidden_layers=2, n_routed_experts=4, n_shared_experts=1, n_group=1,
        topk_group=1, num_experts_per_tok=2, moe_intermediate_size=32, first_k_dense_replace=1, kv_lora_rank=32,
        q_lora_rank=32, qk_rope_head_dim=8, qk_nope_head_dim=16, v_head_dim=16,
        **{k: v for k, v in base.items() if k != "head_dim"}),
}
for name, config in kinds.items():
    model = t.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(f"{where}/{name}")
    print("MADE", name, sum(p.numel() for p in model.parameters()))
"""
ARCHITECTURES = {
    # name: (layers that keep all, values of them, layers with a window, whether states are kept)
    "llama": (3, 64, 0, False),
    "qwen3": (2, 64, 0, False),
    "qwen3_moe": (2, 64, 0, False),
    "gpt_oss": (2, 64, 2, False),
    "qwen3_next": (1, 64, 0, True),
    "deepseek_v3": (2, 40, 0, False),
}


def test_tiny_real_checkpoints_of_six_architectures_are_recognised_from_their_files(
    engine: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    made = run(engine, MAKE, json.dumps(str(tmp_path)))
    counted = {line.split()[1]: int(line.split()[2]) for line in made.splitlines() if line.startswith("MADE")}
    assert counted.keys() == ARCHITECTURES.keys()
    argvs = []
    for name, (layers, values, windowed, states) in ARCHITECTURES.items():
        directory = str(tmp_path / name)
        size = sizes.size_of(directory)
        assert size is not None, name
        arch = size.arch
        assert arch is not None, name
        assert (arch.full.layers, arch.full.values) == (layers, values), name
        assert (arch.sliding.layers if arch.sliding else 0) == windowed, name
        assert bool(arch.state_bytes) == states, name
        assert size.context == 32768, name
        assert size.precision == "bf16"
        assert size.weights == pytest.approx(2 * counted[name], rel=0.3), name
        prepared = plan_of(directory, "1x24")
        assert prepared.plan.engine.window == 32768, name
        argvs.append(words(prepared))
    assert [answer["error"] for answer in parsed(engine, argvs)] == [""] * len(argvs)


def test_the_sum_of_the_cache_is_the_one_that_the_real_engine_logs(embedded_model: str, real_stack: Stack) -> None:
    with open(os.path.join(embedded_model, "config.json"), encoding="utf-8") as stream:
        config = json.load(stream)
    arch = architecture.from_config(config)
    assert arch is not None
    log = (real_stack.root / "logs" / "engine.log").read_text(errors="replace")
    found = re.findall(
        r"CPU KV cache size: ([\d,]+) tokens, Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x", log
    )
    assert found, log[-2000:]
    tokens, window = (int(each.replace(",", "")) for each in found[-1][:2])
    space = re.findall(r"Explicitly set \(([\d.]+)/", log)
    pool = int(float(space[-1]) * 2**30)
    each = memory.conversation(arch, window, tp=1, pp=1, value=2, batch=2048)
    assert tokens == pytest.approx(pool / each * window, rel=0.01)
    assert float(found[-1][2]) == pytest.approx(pool / each, rel=0.01)
    assert window > fitting.FLOOR


def test_what_is_left_for_conversations_is_less_than_the_real_engine_finds(
    engine: Toolchain, embedded_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    given = EngineConfig(
        model=embedded_model,
        port=free_port(),
        max_model_len=8192,
        args={"gpu-memory-utilization": 0.15, "enforce-eager": True},
    )
    prepared = planning.decide(Loaded(StackConfig(engines={"main": given}), {"main": given}, None), host.inspect())
    fit = prepared.plan.engine.fit
    assert fit is not None
    assert not fit.refusal, fit.refusal
    env = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "PYTHON"))}
    log = tmp_path / "engine.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            prepared.plan.engine.argv,
            stdout=stream,
            stderr=stream,
            env=env | dict(prepared.plan.engine.env),
            cwd=tmp_path,
            start_new_session=True,
        )
    try:
        ends = time.monotonic() + 200
        while not (found := re.findall(r"KV cache size: ([\d,]+) tokens", log.read_text(errors="replace"))):
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < ends, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    reported = int(found[-1].replace(",", ""))
    assert 0.4 * reported <= fit.tokens <= reported
