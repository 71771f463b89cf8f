"""The promise, as a user would try it: `up` on a bare machine, a real Claude Code turn by `env` alone, `down`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.fakes import claude, stack
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CANARY = "canary-4f1d-never-show-me"


def stackctl(home: Path, *arguments: str, timeout: float = 600, **extra: str) -> subprocess.CompletedProcess[str]:
    """The console script, in a directory of the user's in which traps lie."""
    return stack.stackctl(home, *arguments, env=extra, cwd=home.parent / "work", timeout=timeout)


def listening(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


class Running:
    """A stack that `up -d` has made, and what it said."""

    def __init__(
        self, home: Path, said: subprocess.CompletedProcess[str], ports: tuple[int, int], seconds: float
    ) -> None:
        self.home = home
        self.said = said
        self.ports = ports
        self.seconds = seconds

    def processes(self) -> list[psutil.Process]:
        """Every process of the stack: the supervisor and all below it."""
        supervisor = psutil.Process(self.status()["supervisor"]["pid"])
        return [supervisor, *supervisor.children(recursive=True)]

    def status(self) -> dict[str, Any]:
        found = json.loads(stackctl(self.home, "status", "--json").stdout)
        assert found["schema"] == 1
        data = found["data"]
        assert isinstance(data, dict)
        return data


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("light")
    home, work = root / "state", root / "work"
    work.mkdir()
    (work / ".env").write_text("LITELLM_MASTER_KEY=sk-planted\nANTHROPIC_API_BASE=http://127.0.0.1:9\n")
    (work / "litellm.py").write_text("raise SystemExit('planted module was imported')\n")
    (work / "sitecustomize.py").write_text("raise SystemExit('planted module was imported')\n")
    engine, gateway = free_port(), free_port()
    config = root / "given.yaml"
    config.write_text(f"engines: {{main: {{model: embedded, port: {engine}}}}}\ngateway: {{port: {gateway}}}\n")
    before = os.umask(0)
    try:
        began = time.monotonic()
        said = stackctl(
            home, "up", "-d", "--yes", "-c", str(config), timeout=840, ANTHROPIC_API_KEY=CANARY, HF_TOKEN=CANARY
        )
        seconds = time.monotonic() - began
    finally:
        os.umask(before)
    try:
        assert said.returncode == 0, said.stderr
        yield Running(home, said, (engine, gateway), seconds)
    finally:
        stackctl(home, "down")


def test_up_says_what_it_does_and_what_the_model_is_worth(running: Running) -> None:
    assert "only proves the chain" in running.said.stderr
    assert "stackctl up --model" in running.said.stderr
    for phase in ("loading weights", "KV cache", "ready: a real token came through the gateway"):
        assert phase in running.said.stderr
    assert f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{running.ports[1]}\n" in running.said.stdout
    print(f"first up in this session: {running.seconds:.1f} s")


def test_the_key_is_not_printed_into_a_pipe(running: Running) -> None:
    key = (running.home / "stacks" / "default" / "client.key").read_text().strip()
    assert len(key) > 64
    assert key not in running.said.stdout + running.said.stderr


def test_status_tells_what_runs(running: Running) -> None:
    data = running.status()
    assert data["gateway_url"] == f"http://127.0.0.1:{running.ports[1]}"
    services = {each["name"]: each for each in data["services"]}
    assert {each["state"] for each in services.values()} == {"ready"}
    assert (services["engine"]["port"], services["gateway"]["port"]) == running.ports
    assert services["engine"]["window"] == 32768
    assert services["engine"]["restarts"] == 0


def test_a_real_claude_code_turn_by_env_alone(running: Running, claude_code: Path, tmp_path: Path) -> None:
    exports = stackctl(running.home, "env")
    assert exports.returncode == 0
    got = subprocess.run(
        ["sh", "-c", 'eval "$1"; exec "$2" -p --output-format json "Say hello."', "sh", exports.stdout, str(claude_code)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DISABLE_AUTOUPDATER": "1"},
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    result = claude.Run(got.returncode, got.stdout, got.stderr, 0.0).result
    # The model rambles; when it reaches the output limit four times over, Claude Code calls that its only error.
    # All else is one: a refused request, a retry that gave up, a parameter that the engine does not take.
    assert result["api_error_status"] is None, got.stdout + got.stderr
    assert (got.returncode, result.get("api_error")) in {(0, None), (1, "max_output_tokens")}, got.stdout + got.stderr
    usage = result["modelUsage"]["claude-local"]
    assert usage["contextWindow"] == 32768
    assert usage["inputTokens"] + usage["cacheReadInputTokens"] + usage["cacheCreationInputTokens"] > 1000
    assert 0 < usage["outputTokens"] <= 256 * result["num_turns"]
    assert list(result["modelUsage"]) == ["claude-local"]


def test_a_second_up_of_the_same_plan_is_the_same_stack(running: Running) -> None:
    config = running.home.parent / "given.yaml"
    again = stackctl(running.home, "up", "-d", "--yes", "-c", str(config))
    assert again.returncode == 0, again.stderr
    assert "already runs" in again.stderr
    assert again.stdout == running.said.stdout
    other = stackctl(running.home, "up", "-d", "--yes", "-c", str(config), "--gateway", "direct")
    assert other.returncode == 1
    assert "another plan" in other.stderr


@pytest.mark.drill
def test_all_sockets_are_on_loopback(running: Running) -> None:
    addresses = [
        connection.laddr.ip
        for process in running.processes()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(addresses) == {"127.0.0.1"}
    print(
        f"drill S1: {len(addresses)} listening sockets, torch's too, of {len(running.processes())} processes: all on 127.0.0.1"
    )


@pytest.mark.drill
def test_no_secret_is_where_others_look(running: Running) -> None:
    key = (running.home / "stacks" / "default" / "client.key").read_text().strip()
    secrets = {CANARY, key}
    for process in running.processes():
        env = process.environ()
        secrets |= {value for name, value in env.items() if name in {"VLLM_API_KEY", "LITELLM_MASTER_KEY"} and value}
        assert CANARY not in env.values(), f"{process.name()} was given the user's keys"
    assert len(secrets) == 4
    for process in running.processes():
        assert not [each for each in secrets if any(each in word for word in process.cmdline())]
    for path in running.home.rglob("*"):
        if path.is_file() and "envs" not in path.parts and path.name != "client.key":
            text = path.read_text(errors="replace")
            assert not [each for each in secrets if each in text], path
    print(f"drill S3: {len(secrets)} secrets in command lines, state, rendered files and logs: 0 hits")


@pytest.mark.drill
def test_files_are_private_although_the_umask_was_zero(running: Running) -> None:
    for path in (running.home / "stacks").rglob("*"):
        mode = path.lstat().st_mode & 0o777
        assert mode & 0o077 == 0, f"{path}: {mode:o}"
    print("drill S5: umask 000: 0 files open to others")


def test_down_leaves_nothing(running: Running) -> None:
    """Last in the file: it takes the stack of the others down."""
    mine = running.processes()
    tmp = json.loads((running.home / "stacks" / "default" / "state.json").read_text())["tmp"]
    assert Path(tmp).is_dir()
    done = stackctl(running.home, "down")
    assert done.returncode == 0, done.stderr
    assert [each for each in mine if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
    assert not any(listening(port) for port in running.ports)
    assert not Path(tmp).exists()
    left = {
        str(path.relative_to(running.home / "stacks" / "default"))
        for path in (running.home / "stacks" / "default").rglob("*")
        if path.is_file()
    }
    assert left == {
        "client.key", "gateway/.rendered.json", "gateway/litellm_config.yaml", "gateway/stackctl_auth.py", "gateway/stackctl_blocks.py",
        "gateway/stackctl_content.py", "gateway/stackctl_engines.py", "gateway/stackctl_redact.py", "gateway/stackctl_requests.py", "lock",
        "logs/engine.log", "logs/gateway.log", "logs/requests.jsonl", "logs/supervisor.log", "ports.json",
    }  # fmt: skip
    assert stackctl(running.home, "down").returncode == 4
    assert stackctl(running.home, "status").returncode == 4
