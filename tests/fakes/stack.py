"""Whole stacks for the tests, started and stopped by the product: a configuration, `stackctl up -d`, `stackctl down`.

Each has a state directory of its own; only the managed environments ($STACKCTL_ENVS) are shared. What the product starts
is found through it: the address and the client's key as `stackctl env` exports them, the other keys in the environment of
the processes that `stackctl status` names.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "tests" / "fakes" / "engine.py"
STACKCTL = Path(sys.executable).with_name("stackctl")
ALIAS = "claude-local"
TWIN = "anthropic-local"
LEGACY_ALIAS = "claude-3-5-sonnet-20241022"
SERVED = "smollm2-135m-instruct"  # what the embedded model is served as; the scripted engine takes the same name
WINDOW = 32768
OUTPUT_LIMIT = 256
SCRIPTED_LIMIT = WINDOW // 4
_THROUGH = ("COVERAGE_", "PIP_", "SSL_", "UV_")  # what of ours a run of the product needs in any case


def stackctl(
    home: Path,
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """The console script with a state directory, a HOME beside it, and nothing else of ours but the environments."""
    return subprocess.run(
        argv(*arguments), env={**environment(home), **(env or {})}, cwd=cwd or home.parent, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def argv(*arguments: str | Path) -> list[str]:
    """The command line of the console script."""
    return [str(STACKCTL), *map(str, arguments)]


def environment(home: Path) -> dict[str, str]:
    """The environment of a user whose state directory is `home`."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home.parent),
        "STACKCTL_HOME": str(home),
        "STACKCTL_ENVS": os.environ["STACKCTL_ENVS"],
        **{name: value for name, value in os.environ.items() if name.startswith(_THROUGH)},
    }


@dataclass(frozen=True)
class Stack:
    """A stack that runs, as its clients see it; `record` is the scripted engine's, `said` what `up` told people."""

    home: Path
    config: Path
    said: str
    url: str
    key: str
    engine_url: str
    engine_key: str
    master_key: str
    record: Path | None = None

    @property
    def root(self) -> Path:
        """The directory of the stack: state, logs, rendered files."""
        return self.home / "stacks" / "default"

    def stackctl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command on this stack."""
        return stackctl(self.home, *arguments, **options)

    def status(self) -> dict[str, Any]:
        """What `status --json` says."""
        return _data(self.stackctl("status", "--json"))

    def env(self) -> dict[str, str]:
        """What `stackctl env` exports for Claude Code."""
        found = _data(self.stackctl("env", "--shell", "json"))["env"]
        assert isinstance(found, dict)
        return found

    def ask(self, path: str, body: Any = None, **options: Any) -> Answer:
        """A request to the gateway with the client key."""
        return ask(self.url + path, body, key=options.pop("key", self.key), **options)

    def ask_engine(self, path: str, body: Any = None, **options: Any) -> Answer:
        """The same request to the engine itself."""
        return ask(self.engine_url + path, body, key=self.engine_key, **options)

    def requests(self) -> list[dict[str, Any]]:
        """What the scripted engine was asked so far."""
        assert self.record is not None
        return read_record(self.record)


def _data(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == 1
    data = found["data"]
    assert isinstance(data, dict)
    return data


def read_record(record: Path) -> list[dict[str, Any]]:
    """The requests that a scripted engine has noted."""
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


@contextlib.contextmanager
def up(
    root: Path, config: dict[str, Any], *, record: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """`config` as a stack: `up -d` on the way in, `down` on the way out. `env` is added to the environment of `up`."""
    root.mkdir(parents=True, exist_ok=True)
    home, file = root / "state", root / "given.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    started = stackctl(home, "up", "-d", "--yes", "-c", file, timeout=840, env=env)
    try:
        assert started.returncode == 0, started.stderr
        yield _running(home, file, started.stderr, config, record)
    finally:
        stopped = stackctl(home, "down")
        assert stopped.returncode == (0 if started.returncode == 0 else 4), stopped.stderr


def _running(home: Path, file: Path, said: str, config: dict[str, Any], record: Path | None) -> Stack:
    data = _data(stackctl(home, "status", "--json"))
    variables: dict[str, str] = {}
    for service in data["services"]:
        variables |= psutil.Process(service["pid"]).environ()
    engine = next(iter(config["engines"].values()))
    local = config["gateway"]["port"] if config["gateway"].get("kind") == "direct" else engine.get("port")
    key = (home / "stacks" / "default" / "client.key").read_text().strip()
    return Stack(
        home,
        file,
        said,
        data["gateway_url"],
        key,
        engine.get("url") or f"http://127.0.0.1:{local}",
        variables.get("VLLM_API_KEY") or variables.get("STACKCTL_ENGINE_KEY", ""),
        variables.get("LITELLM_MASTER_KEY", ""),
        record,
    )


def leftovers(home: Path) -> list[str]:
    """What is left of the stacks below `home` that should not be: processes, and files that only a running stack has.

    A process is one of theirs by its environment, its command line, its directory or its output: vLLM's children
    rewrite the first two.
    """
    found = []
    for process in psutil.process_iter():
        links = [f"/proc/{process.pid}/cwd", f"/proc/{process.pid}/fd/1"]
        with contextlib.suppress(OSError, psutil.Error):
            shown = [*process.cmdline(), *process.environ().values(), *map(os.readlink, links)]
            if process.pid != os.getpid() and any(str(home) in each for each in shown):
                found.append(f"process {process.pid}: {process.name()} {process.status()}")
    stays = {"client.key", "lock", "ports.json"}
    for path in home.glob("stacks/*/*"):
        if path.is_file() and path.name not in stays:
            found.append(str(path))
        if path.name == "tmp" and path.is_dir():
            found.append(str(path))
    for root in map(str, home.glob("stacks/*")):  # where TMPDIR is when the path below `home` is too long for sockets
        short = f"stackctl-{os.getuid()}-{hashlib.sha256(root.encode()).hexdigest()[:12]}"
        found += [
            str(each) for each in (Path("/run/user", str(os.getuid()), short), Path("/tmp", short)) if each.exists()
        ]
    return found


# --- configurations


def real_config() -> dict[str, Any]:
    """Real vLLM with the embedded model behind real LiteLLM, on free ports."""
    return {
        "engines": {"main": {"model": "embedded", "port": free_port()}},
        "gateway": {"port": free_port()},
        "aliases": [LEGACY_ALIAS],
    }


def script(turns: list[dict[str, Any]]) -> str:
    """What stands in the scripted engine's file."""
    return json.dumps({"turns": turns})


def scripted_config(
    root: Path,
    turns: list[dict[str, Any]] | None = None,
    *,
    faults: Sequence[str] = (),
    window: int = WINDOW,
    **args: Any,
) -> dict[str, Any]:
    """The scripted engine in vLLM's place; `args` are further flags of vLLM, with `_` for `-`; `window` in tokens."""
    root.mkdir(parents=True, exist_ok=True)
    file = root / "script.json"
    file.write_text(script(turns or []))
    command = [sys.executable, str(ENGINE), "--fake-script", str(file), "--fake-record", str(root / "record.jsonl")]
    for fault in faults:
        command += ["--fake-fault", fault]
    given = {"tool-call-parser": "hermes", **{name.replace("_", "-"): value for name, value in args.items()}}
    engine = {"model": SERVED, "port": free_port(), "max_model_len": window, "command": command, "args": given}
    return {
        "engines": {"main": engine},
        "gateway": {"port": free_port()},
        "aliases": [LEGACY_ALIAS],
    }


@contextlib.contextmanager
def scripted_stack(root: Path, turns: list[dict[str, Any]], *, gateway: Any = None, **args: Any) -> Iterator[Stack]:
    """The scripted engine as a stack; `gateway` is added to that section of the configuration."""
    config = scripted_config(root, turns, **args)
    config["gateway"] |= gateway or {}
    with up(root, config, record=root / "record.jsonl") as found:
        yield found


# --- requests


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


# --- a server that is no stack's: an engine that already runs


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
