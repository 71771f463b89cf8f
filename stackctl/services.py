"""Plan + keys -> the processes to supervise, with their whole environment."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from stackctl import paths as where
from stackctl.clients import proxy
from stackctl.errors import ConfigError
from stackctl.gateway_env import gateway_env
from stackctl.model import Probe, ProcessSpec, ServiceKind, Work
from stackctl.plan import EnginePlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.keys import Keys
    from stackctl.paths import StackPaths
    from stackctl.plan import Plan

# What a service may inherit. A list, not everything: an agent's shell holds keys that no engine should see.
_SHARED = (
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    "USER",
)
_ENGINE = ("CC", "CXX", "CPATH", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LIBRARY_PATH", "XDG_CACHE_HOME")
_ENGINE_PREFIXES = (
    "CUDA_",
    "GOMP_",
    "HIP_",
    "HSA_",
    "KMP_",
    "MKL_",
    "NCCL_",
    "NUMA",
    "NVIDIA_",
    "OMP_",
    "OPENBLAS_",
    "PYTORCH_",
    "ROCR_",
    "TORCH_",
    "TRITON_",
    "VLLM_",
)
_NEVER = ("VLLM_API_KEY", "VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_INSECURE_SERIALIZATION")
_BESIDE_VLLM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "beside_vllm")
_OURS = {"User-Agent": "stackctl"}  # so that a log tells our questions from a client's
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def specs(plan: Plan, paths: StackPaths, keys: Keys, tmp: str, environ: Mapping[str, str]) -> tuple[ProcessSpec, ...]:
    """The services in the order they are listed: the engines (that are ours), then the gateway (when it is LiteLLM)."""
    found = [_engine(plan, each, paths, keys, tmp, environ) for each in plan.managed]
    if plan.gateway.argv:
        found.append(_gateway(plan, paths, keys, tmp, environ))
    return tuple(found)


def _engine(
    plan: Plan, engine: EnginePlan, paths: StackPaths, keys: Keys, tmp: str, environ: Mapping[str, str]
) -> ProcessSpec:
    env = _inherit(environ, _SHARED + _ENGINE, _ENGINE_PREFIXES)
    # a key of others may have a name that engines inherit by its beginning
    for source in [*(each.source for each in plan.hosted), *(each.source for each in plan.engines)]:
        env.pop(source, None)
    cache = where.cache_dir()
    env |= {
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": tmp,
        "VLLM_RPC_BASE_PATH": tmp,
        "VLLM_CACHE_ROOT": os.path.join(cache, "vllm"),
        "VLLM_CONFIG_ROOT": os.path.join(cache, "vllm-config"),
        "TORCHINDUCTOR_CACHE_DIR": os.path.join(cache, "torchinductor"),
        "TRITON_CACHE_DIR": os.path.join(cache, "triton"),
        "FLASHINFER_WORKSPACE_BASE": cache,
        **engine.env,
    }
    env["VLLM_API_KEY"] = keys.client if plan.gateway.kind == "direct" else str(keys.engines[engine.name])
    env["NO_PROXY"] = env["no_proxy"] = proxy.merged(environ)
    env["PYTHONPATH"] = _BESIDE_VLLM
    _own_programs_first(env, engine.argv[0])
    host = engine.url.removeprefix("http://").rpartition(":")[0]
    # vLLM's /health stays 200 before an EngineCore that hangs. Its counters move with each token, the KV cache's usage
    # with each part of a long prompt.
    work = Work(
        Probe(f"{engine.url}/metrics", headers=_OURS),
        ("vllm:generation_tokens_total", "vllm:prompt_tokens_total", "vllm:kv_cache_usage_perc"),
        Probe(
            f"{engine.url}/v1/completions",
            "POST",
            {**_OURS, "Authorization": f"Bearer {env['VLLM_API_KEY']}"},
            {"model": engine.served, "prompt": "a", "max_tokens": 1, "temperature": 0},
        ),
    )
    return ProcessSpec(
        name=engine.service, kind=ServiceKind.ENGINE, argv=engine.argv, env=env, cwd=paths.engine_dir, log=paths.log(engine.service),
        host=host, port=engine.port, ready=Probe(f"{engine.url}/health", headers=_OURS), model=engine.served, window=engine.window, work=work,
        start_cap=_start_cap(environ), after=_before(plan, engine),
    )  # fmt: skip


def _before(plan: Plan, engine: EnginePlan) -> tuple[str, ...]:
    """The engines to start before this one: vLLM measures what is free on a GPU, and takes it that nobody else there
    changes what they hold meanwhile (gpu_worker.py, 0.32.0).
    """
    earlier = plan.managed[: plan.managed.index(engine)]
    return tuple(each.service for each in earlier if each.devices & engine.devices)


def _start_cap(environ: Mapping[str, str]) -> float:
    """The longest time in seconds that a start may take: $STACKCTL_START_CAP, else two hours."""
    given = environ.get("STACKCTL_START_CAP", "7200")
    if not given.isdecimal() or int(given) == 0:
        raise ConfigError(
            f"STACKCTL_START_CAP={given!r} is not a number of seconds", remedy="export STACKCTL_START_CAP=7200"
        )
    return float(given)


def _gateway(plan: Plan, paths: StackPaths, keys: Keys, tmp: str, environ: Mapping[str, str]) -> ProcessSpec:
    gateway = plan.gateway
    env = _inherit(environ, _SHARED, ())
    if plan.hosted or len(plan.managed) < len(plan.engines):  # a remote engine, or a provider, may be behind a proxy
        env |= _inherit(environ, _PROXIES, ())
    # not bytecode either: everything is compiled already but our own small file, beside which nothing is left
    env |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": tmp}
    env |= gateway_env(
        master_key=keys.master,
        client_key=keys.client,
        host_url=gateway.url,
        keys=_gateway_keys(plan, keys),
        alone=_alone(plan),
    )
    env["STACKCTL_STATE"] = paths.state  # where the gate reads why an engine does not answer
    env["STACKCTL_ENGINES"] = json.dumps(_behind(plan))
    env["STACKCTL_REQUESTS"] = paths.requests
    env["NO_PROXY"] = env["no_proxy"] = proxy.merged(environ)
    _own_programs_first(env, gateway.argv[0])
    return ProcessSpec(
        name="gateway", kind=ServiceKind.GATEWAY, argv=gateway.argv, env=env, cwd=paths.gateway_dir, log=paths.log("gateway"),
        host=gateway.host, port=gateway.port, ready=Probe(f"{gateway.url}/health/liveliness"), model=plan.client_model, window=plan.engine.window,
    )  # fmt: skip


def _alone(plan: Plan) -> bool:
    """Whether there is one engine and nobody else."""
    return len(plan.engines) == 1 and not plan.hosted


def _gateway_keys(plan: Plan, keys: Keys) -> dict[str, str]:
    """Each engine's key, alone and as a header, and the providers'. Never empty: LiteLLM wants some credential."""
    found = dict(keys.hosted)
    for each in plan.engines:
        key = keys.engines.get(each.name) or "none"
        found |= {each.key_variable: key, each.bearer_variable: f"Bearer {key}"}
    return found


def _behind(plan: Plan) -> dict[str, dict[str, str]]:
    """For the gate: the engine behind each name that clients ask for; a provider's has none. No key is in it.

    LiteLLM counts by itself for the names that it hands on, with the one key that it has for all (`gateway_env`).
    """
    alone = _alone(plan)
    return {
        name: {
            "service": to.service,
            "name": to.name,
            "served": to.served,
            "url": "" if to.managed else to.url,
            "count": to.url if to.speaks_messages and not (alone and name != to.served) else "",
            "bearer": to.bearer_variable,
        }
        for name, to in plan.names().items()
        if isinstance(to, EnginePlan)
    }


def _inherit(environ: Mapping[str, str], names: tuple[str, ...], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if (name in names or (prefixes and name.startswith(prefixes))) and name not in _NEVER
    }


def _own_programs_first(env: dict[str, str], program: str) -> None:
    """Put the environment's own `bin` first: vLLM looks for ninja and others on PATH."""
    env["PATH"] = os.pathsep.join([os.path.dirname(os.path.abspath(program)), env.get("PATH", os.defpath)])
