"""What vLLM 0.32.0 prints while it starts, and when it fails to: shapes copied from real logs, shortened."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# (who, level, file:line, message), in order; {model}, {window} and {url} are filled in
PHASES: tuple[tuple[str, str, str, str], ...] = (
    ("APIServer", "INFO", "api_utils.py:347", "   █▄█▀ █     █     █     █  version 0.32.0"),
    ("APIServer", "INFO", "api_utils.py:286", "non-default args: {{'model': '{model}', 'max_model_len': {window}}}"),
    ("APIServer", "INFO", "model.py:733", "Resolved architecture: LlamaForCausalLM"),
    ("APIServer", "INFO", "model.py:2152", "Using max model len {window}"),
    ("EngineCore", "INFO", "core.py:133", "Initializing a V1 LLM engine (v0.32.0) with config: model='{model}'"),
    ("Worker", "INFO", "cpu_model_runner.py:68", "Starting to load model {model}..."),
    ("", "", "", "Loading safetensors checkpoint shards:   0% Completed | 0/2 [00:00<?, ?it/s]"),
    ("", "", "", "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<00:00,  1.29it/s]"),
    ("", "", "", "Loading safetensors checkpoint shards: 100% Completed | 2/2 [00:00<00:00,  1.29it/s]"),
    ("Worker", "INFO", "default_loader.py:501", "Loading weights took 0.78 seconds"),
    (
        "EngineCore",
        "INFO",
        "kv_cache_utils.py:2327",
        "CPU KV cache size: 93,184 tokens, Maximum concurrency for {window} tokens per request: 2.84x",
    ),
    ("EngineCore", "INFO", "core.py:402", "init engine (profile, create kv cache, warmup model) took 6.23 s"),
    ("APIServer", "INFO", "parser_manager.py:38", '"auto" tool choice has been enabled.'),
    ("APIServer", "INFO", "entry.py:140", "Starting vLLM server on {url}"),
)

_CORE = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore_0': 1}"
)

# name -> what vLLM's log says last; those in _IN_CORE are followed by the API server's own wrapper
FAILURES: dict[str, str] = {
    "port_in_use": "OSError: [Errno 98] Address already in use",
    "no_device": "RuntimeError: Failed to infer device type, please set the environment variable "
    "`VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue.",
    "gpu_busy": "ValueError: Free memory on device cuda:0 (3.21/23.99 GiB) on startup is less than desired GPU memory "
    "utilization (0.92, 22.07 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
    "oom_load": "RuntimeError: Failed to load model - not enough GPU memory. Try lowering --gpu-memory-utilization to "
    "free memory for weights, increasing --tensor-parallel-size, or using --quantization.",
    "kv_too_small": "ValueError: To serve at least one request with the model's max seq len (262144), (24.0 GiB KV "
    "cache is needed, which is larger than the available KV cache memory (3.5 GiB). Based on the available memory, "
    "the estimated maximum model length is 38224. Try increasing `gpu_memory_utilization` or decreasing "
    "`max_model_len` when initializing the engine.",
    "maxlen_gt_model": "  Value error, User-specified max_model_len (999999) is greater than the derived max_model_len "
    "(max_position_embeddings=8192 or model_max_length=None in model's config.json).",
    "tool_parser_unknown": "KeyError: 'invalid tool call parser: nonsense (chose from { hermes,mistral,qwen3_xml })'",
    "model_not_found": "OSError: nobody/nothing is not a local folder and is not a valid model identifier listed on "
    "'https://huggingface.co/models'",
    "gated": "OSError: You are trying to access a gated repo.\nMake sure to have access to it and to be logged in.",
    "trust_remote": "ValueError: The repository contains custom code which must be executed to correctly load the "
    "model; consider setting `trust_remote_code=True` in LLM or using the `--trust-remote-code` flag in the CLI.",
    "bad_flag": "vllm: error: unrecognized arguments: --no-such-flag",
}
_IN_CORE = frozenset({"gpu_busy", "oom_load", "kv_too_small", "no_kv"})
_SHARE = 0.92  # vLLM's own


def refused(faults: Mapping[str, str], values: Mapping[str, Sequence[str]], window: int) -> tuple[str, str] | None:
    """Why an engine on such a machine (`own`, `holds`, `free`, `needs`, `parsers`, `without`, `while`) ends with these flags: the
    failure's name and vLLM's words. None where they suit it.
    """
    for each in filter(None, faults.get("while", "").split("+")):
        written, _, reason = each.rpartition(":")
        flag, _, value = written.partition("=")
        if flag in values and value in {"", *values[flag]}:
            from stackctl.catalog import symptoms  # the others need none of it to start

            return reason, next(row.sample for row in symptoms.table().failures if row.id == reason)
    share = float((values.get("gpu-memory-utilization") or [str(_SHARE)])[0])
    parser = (values.get("tool-call-parser") or [""])[0]
    if "without" in faults and faults["without"] in values:
        words = " ".join([f"--{faults['without']}", *values[faults["without"]]])
        return "bad_flag", f"api_server.py: error: unrecognized arguments: {words}"
    if "parsers" in faults and parser not in faults["parsers"].split("+"):
        known = faults["parsers"].replace("+", ",")
        return "tool_parser_unknown", f"KeyError: 'invalid tool call parser: {parser} (chose from {{ {known} }})'"
    if "own" in faults and window > int(faults["own"]):
        return "maxlen_gt_model", (
            f"  Value error, User-specified max_model_len ({window}) is greater than the derived max_model_len "
            f"(max_position_embeddings={faults['own']} or model_max_length=None in model's config.json)."
        )
    free, _, total = faults.get("free", "").partition("/")
    if free and share * float(total) > float(free):
        return "gpu_busy", (
            f"ValueError: Free memory on device cuda:0 ({free}/{total} GiB) on startup is less than desired GPU memory "
            f"utilization ({share}, {share * float(total):.2f} GiB). Decrease GPU memory utilization or reduce GPU memory "
            "used by other processes."
        )
    if share < float(faults.get("needs", 0)):
        return "no_kv", (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` (which also "
            "controls CPU memory on the CPU backend) when initializing the engine."
        )
    if "holds" in faults and window > int(faults["holds"]):
        need, have = window * 98304 / 2**30, int(faults["holds"]) * 98304 / 2**30
        return "kv_too_small", (
            f"ValueError: To serve at least one request with the model's max seq len ({window}), ({need:.2f} GiB KV cache is "
            f"needed, which is larger than the available KV cache memory ({have:.2f} GiB). Based on the available memory, the "
            f"estimated maximum model length is {faults['holds']}. Try increasing `gpu_memory_utilization` or decreasing "
            "`max_model_len` when initializing the engine."
        )
    return None


def say(who: str, pid: int, level: str, where: str, message: str) -> None:
    """One line as vLLM's formatter writes it; without `who`, the bare text on stderr, as tqdm and tracebacks come."""
    if who:
        print(f"({who} pid={pid}) {level} {time.strftime('%m-%d %H:%M:%S')} [{where}] {message}", flush=True)
    else:
        print(message, file=sys.stderr, flush=True)


def fail(name: str, pid: int, words: str = "") -> int:
    """Print how a start ends that fails for the reason `name` (in these `words`); return the exit code."""
    words = words or FAILURES[name]
    if name == "bad_flag":
        say("", 0, "", "", words)
        return 2
    if name in _IN_CORE:
        say("EngineCore", pid, "ERROR", "core.py:1512", "EngineCore failed to start.")
    for line in [words, *([_CORE] if name in _IN_CORE else [])]:
        say("", 0, "", "", f"Traceback (most recent call last):\n  ...\n{line}")
    return 1
