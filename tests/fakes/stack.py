"""Starts real servers for the tests of the gateway, and asks them: the engine (vLLM or the scripted one) and LiteLLM with
the rendered template, its environment and the auth module. Everything that is started is killed, by its own group.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from stackctl.gateway_env import gateway_env

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
AUTH = "stackctl_auth.user_api_key_auth"
CLIENT_KEY = "sk-client-canary-5d1f"
MASTER_KEY = "sk-master-canary-77aa"
ENGINE_KEY = "engine-canary-90c2"
ALIAS = "claude-local"
LEGACY_ALIAS = "claude-3-5-sonnet-20241022"
SERVED = "smollm2"
WINDOW = 32768
OUTPUT_LIMIT = 256
SCRIPTED_LIMIT = 4096
VLLM_FLAGS = (
    "--enforce-eager", "--dtype", "bfloat16", "--max-model-len", str(WINDOW),
    "--hf-overrides", json.dumps({"max_position_embeddings": WINDOW}),
    "--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--enable-prompt-tokens-details",
)  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """A running chain, as its clients see it; `record` is the scripted engine's, `logs` holds engine.log, gateway.log."""

    url: str
    key: str
    engine_url: str
    engine_key: str
    logs: Path
    record: Path | None = None

    def ask(self, path: str, body: Any = None, **options: Any) -> Answer:
        """A request to the gateway with the client key."""
        return ask(self.url + path, body, key=options.pop("key", self.key), **options)

    def ask_engine(self, path: str, body: Any = None, **options: Any) -> Answer:
        """The same request to the engine itself."""
        return ask(self.engine_url + path, body, key=self.engine_key, **options)

    def requests(self) -> list[dict[str, Any]]:
        """What the scripted engine was asked so far."""
        assert self.record is not None
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [json.loads(line) for line in lines]


@dataclass
class Answer:
    """One HTTP answer; `seconds` is the time to its end."""

    status: int
    headers: dict[str, str]
    raw: bytes
    seconds: float
    first_byte: float = field(default=0.0)

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.raw)


def ask(
    url: str,
    body: Any = None,
    *,
    key: str | None = None,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 120.0,
) -> Answer:
    """One request, without proxies; `key` goes as a bearer token. An error status is an answer too."""
    place = urllib.parse.urlsplit(url)
    sent = {"content-type": "application/json", "anthropic-version": "2023-06-01", **(headers or {})}
    if key is not None:
        sent["authorization"] = f"Bearer {key}"
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout)
    started = time.monotonic()
    try:
        target = place.path + (f"?{place.query}" if place.query else "")
        verb = method or ("GET" if body is None else "POST")
        connection.request(verb, target or "/", None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        first = time.monotonic() - started
        raw = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, raw, time.monotonic() - started, first)
    finally:
        connection.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def base_env(home: Path) -> dict[str, str]:
    """Nothing of ours but a PATH."""
    home.mkdir(parents=True, exist_ok=True)
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home)}


@contextlib.contextmanager
def running(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, health: str, deadline: float
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process group of its own, from the moment that `health` answers 200; its whole group is killed."""
    cwd.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        _await(process, health, log, deadline)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)


def _await(process: subprocess.Popen[bytes], health: str, log: Path, deadline: float) -> None:
    ends = time.monotonic() + deadline
    while process.poll() is None and time.monotonic() < ends:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ask(health, timeout=2).status == 200:
                return
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-4000:]
    raise AssertionError(f"{health} never answered (exit code {process.poll()}, {deadline:.0f} s): {tail}")


def model_row(name: str, model: str, api_base: str, **more: Any) -> dict[str, Any]:
    """One row of the template's `models`."""
    row = {
        "name": name,
        "model": model,
        "api_base": api_base,
        "api_key": None,
        "max_input_tokens": WINDOW,
        "max_output_tokens": OUTPUT_LIMIT,
        "supports_reasoning": False,
        "supports_vision": False,
        "supports_function_calling": True,
    }
    return {**row, **more}


def rows(engine_url: str, served: str = SERVED, aliases: Sequence[str] = (ALIAS, LEGACY_ALIAS)) -> list[dict[str, Any]]:
    """An engine's models: the aliases for Anthropic's clients, its own name for OpenAI's."""
    own = model_row(served, f"hosted_vllm/{served}", f"{engine_url}/v1", api_key="os.environ/STACKCTL_ENGINE_KEY")
    return [*(model_row(alias, f"anthropic/{served}", engine_url) for alias in aliases), own]


def write_gateway(directory: Path, models: list[dict[str, Any]], request_timeout: int = 600) -> Path:
    """The rendered configuration and the auth module beside it."""
    directory.mkdir(parents=True)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["yaml"] = json.dumps
    template = environment.from_string((ROOT / "templates" / "litellm_config.yaml.j2").read_text())
    config = directory / "litellm_config.yaml"
    config.write_text(template.render(models=models, request_timeout=request_timeout, auth=AUTH))
    shutil.copy(ROOT / "stackctl" / "gateway_auth.py", directory / "stackctl_auth.py")
    return config


@contextlib.contextmanager
def gateway(
    root: Path, python: str, models: list[dict[str, Any]], *, request_timeout: int = 600
) -> Iterator[tuple[str, Path]]:
    """Real LiteLLM on a free port: (its URL, its log)."""
    directory = root / "gateway"
    config = write_gateway(directory, models, request_timeout)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = base_env(root / "home") | gateway_env(
        master_key=MASTER_KEY, client_key=CLIENT_KEY, engine_key=ENGINE_KEY, host_url=url
    )
    program = str(Path(python).parent / "litellm")
    argv = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    log = root / "gateway.log"
    with running(argv, env=env, cwd=directory, log=log, health=f"{url}/health/liveliness", deadline=120):
        yield url, log


@contextlib.contextmanager
def scripted_engine(
    root: Path, *flags: str, turns: list[dict[str, Any]] | None = None, served: str = SERVED, name: str = "engine"
) -> Iterator[tuple[str, Path]]:
    """The scripted engine on a free port: (its URL, its record)."""
    root.mkdir(parents=True, exist_ok=True)
    script, record = root / f"{name}.script.json", root / f"{name}.record.jsonl"
    script.write_text(json.dumps({"turns": turns or []}))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [
        sys.executable, str(ROOT / "tests" / "fakes" / "engine.py"), "--fake-script", str(script), "--fake-record", str(record),
        "--model", "scripted", "--served-model-name", served, "--host", "127.0.0.1", "--port", str(port), *flags,
    ]  # fmt: skip
    env = base_env(root / "home") | {"VLLM_API_KEY": ENGINE_KEY}
    with running(argv, env=env, cwd=root / name, log=root / f"{name}.log", health=f"{url}/health", deadline=20):
        yield url, record


@contextlib.contextmanager
def vllm(root: Path, python: str, model: str, *flags: str) -> Iterator[str]:
    """Real vLLM with the small model on a free port: its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [
        python, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", SERVED,
        "--host", "127.0.0.1", "--port", str(port), *VLLM_FLAGS, *flags,
    ]  # fmt: skip
    env = base_env(root / "home") | {
        "VLLM_API_KEY": ENGINE_KEY,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with running(argv, env=env, cwd=root / "engine", log=root / "engine.log", health=f"{url}/health", deadline=240):
        yield url


@contextlib.contextmanager
def real_stack(root: Path, *, engine_python: str, gateway_python: str, model: str) -> Iterator[Stack]:
    """vLLM and LiteLLM, both real."""
    with contextlib.ExitStack() as stack:
        engine_url = stack.enter_context(vllm(root, engine_python, model))
        url, _ = stack.enter_context(gateway(root, gateway_python, rows(engine_url)))
        yield Stack(url, CLIENT_KEY, engine_url, ENGINE_KEY, root)


TOOL_FLAGS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--enable-prompt-tokens-details")


@contextlib.contextmanager
def scripted_stack(
    root: Path, *flags: str, gateway_python: str, turns: list[dict[str, Any]], **options: Any
) -> Iterator[Stack]:
    """The scripted engine behind real LiteLLM. With `reasoning=True` engine and gateway both know a reasoning parser."""
    reasoning = options.pop("reasoning", False)
    own = ("--reasoning-parser", "qwen3") if reasoning else ()
    with contextlib.ExitStack() as stack:
        engine_url, record = stack.enter_context(scripted_engine(root, *TOOL_FLAGS, *own, *flags, turns=turns))
        models = [
            {**row, "supports_reasoning": reasoning, "max_output_tokens": SCRIPTED_LIMIT} for row in rows(engine_url)
        ]
        url, _ = stack.enter_context(gateway(root, gateway_python, models, **options))
        yield Stack(url, CLIENT_KEY, engine_url, ENGINE_KEY, root, record)
