"""`stackctl launch`: the client gets exactly what `env` gives, its own terminal, signals and exit code; and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from stackctl import clients, runstate
from stackctl.commands import launch as command
from stackctl.paths import StackPaths
from tests.fakes import stubclients
from tests.fakes.ports import free_port
from tests.fakes.stubclients import KEY, saw, stub
from tests.fakes.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENTS = ("claude", "codex", "opencode", "qwen")
ENGINE = Path(__file__).resolve().parents[1] / "fakes" / "engine.py"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user").mkdir()
    return tmp_path


@pytest.fixture
def running(home: Path) -> Iterator[StackPaths]:
    paths = stubclients.say_running(home)
    yield paths
    runstate.remove_tmp(paths)  # where a path is too long for sockets, it stands outside of the test's own directory


def environ(home: Path, **extra: str) -> dict[str, str]:
    path = os.pathsep.join([str(home / "bin"), "/usr/bin", "/bin"])
    return {"PATH": path, "HOME": str(home / "user"), "STACKCTL_HOME": str(home / "state"), **extra}


def argv(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stackctl", "launch", *arguments]


def launch(home: Path, *arguments: str, stdin: str | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv(*arguments), env=environ(home, **extra), cwd=home, input=stdin, capture_output=True, text=True,
        timeout=120, check=False, stdin=None if stdin is not None else subprocess.DEVNULL,
    )  # fmt: skip


# --- what the client gets


@pytest.mark.parametrize("client", CLIENTS)
def test_launch_and_env_give_the_same_environment(home: Path, running: StackPaths, client: str) -> None:
    dump = stub(home / "bin", client)
    theirs = {
        "NO_PROXY": "corp.example", "HTTP_PROXY": "http://proxy.corp.example:3128", "NODE_EXTRA_CA_CERTS": "/ca/own.pem",
        "ANTHROPIC_API_KEY": "sk-ant-theirs", "CLAUDE_CODE_USE_BEDROCK": "1", "OPENCODE_CONFIG_CONTENT": '{"theme":"mine"}',
        "KEEP": "as 'it' is\n",
    }  # fmt: skip
    done = launch(home, client, **theirs)
    assert done.returncode == 0, done.stderr
    by_launch = saw(dump)["env"]
    dump.unlink()
    line = f'eval "$({sys.executable} -m stackctl env --client {client} --shell bash 2>/dev/null)"; exec {client}'
    subprocess.run(["/bin/bash", "-c", line], env=environ(home, **theirs), cwd=home, timeout=60, check=True)
    by_env = saw(dump)["env"]
    ours = {name for name in by_env if name.startswith(("STACKCTL_SET", "STACKCTL_SAVED_"))} | {"_", "SHLVL", "PWD"}
    assert {name: value for name, value in by_env.items() if name not in ours} == {
        name: value for name, value in by_launch.items() if name not in ours
    }
    assert by_launch["NO_PROXY"] == "corp.example,127.0.0.1,localhost,::1"
    assert by_launch["NODE_EXTRA_CA_CERTS"] == "/ca/own.pem"
    assert by_launch["KEEP"] == theirs["KEEP"]
    assert KEY in by_launch.values()


def test_a_key_that_env_has_put_aside_is_not_handed_to_the_client(home: Path, running: StackPaths) -> None:
    dump = stub(home / "bin", "claude")
    line = f'eval "$({sys.executable} -m stackctl env)"; env | grep -q ^STACKCTL_SAVED_; exec "$@"'
    words = ["/bin/bash", "-c", line, "bash", *argv("claude")]
    subprocess.run(words, env=environ(home, ANTHROPIC_API_KEY="sk-ant-theirs"), cwd=home, timeout=60, check=True)
    assert "sk-ant-theirs" not in json.dumps(saw(dump))


def test_claude_gets_a_private_settings_file_that_says_the_same(home: Path, running: StackPaths) -> None:
    dump = stub(home / "bin", "claude")
    assert launch(home, "claude", "--", "-p", "hi there").returncode == 0
    seen = saw(dump)
    option, path, *rest = seen["argv"][1:]
    assert (option, rest) == ("--settings", ["-p", "hi there"])
    assert path.startswith(runstate.tmp_path(running) + os.sep)  # which `down` removes
    assert seen["modes"][path] == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    settings = json.loads(seen["files"][path])
    assert {name: seen["env"][name] for name in settings["env"]} == settings["env"]
    assert settings["permissions"]["deny"] == ["WebSearch"]
    assert list((home / "user").rglob("*")) == []


def test_two_at_once_do_not_change_each_others_settings(home: Path, running: StackPaths) -> None:
    """Claude Code reads its settings file again when it changes."""
    dump = stub(home / "bin", "claude")
    assert launch(home, "claude", "--", "--settings", '{"model": "one"}').returncode == 0
    first = saw(dump)["argv"][2]
    assert launch(home, "claude", "--", "--settings", '{"model": "other"}').returncode == 0
    assert saw(dump)["argv"][2] != first
    assert json.loads(Path(first).read_text())["model"] == "one"


def test_codex_gets_its_provider_by_the_command_line_but_not_the_key(home: Path, running: StackPaths) -> None:
    dump = stub(home / "bin", "codex")
    assert launch(home, "codex", "--", "exec", "task").returncode == 0
    seen = saw(dump)
    words = seen["argv"][1:]
    assert words[-2:] == ["exec", "task"]
    given = dict(word.split("=", 1) for word in words[1:-2:2])
    assert given["model"] == '"Qwen/Real"'
    assert given["model_context_window"] == "32768"
    assert 'wire_api = "responses"' in given["model_providers.stackctl"]
    assert 'base_url = "http://127.0.0.1:4000/v1"' in given["model_providers.stackctl"]
    assert KEY not in " ".join(words)
    assert seen["env"]["STACKCTL_CODEX_KEY"] == KEY


def test_opencode_and_qwen_are_told_the_true_window_and_only_refer_to_the_key(home: Path, running: StackPaths) -> None:
    for client in ("opencode", "qwen"):
        dump = stub(home / "bin", client)
        assert launch(home, client, OPENCODE_CONFIG_CONTENT='{"theme":"mine"}').returncode == 0
        seen = saw(dump)
        if client == "opencode":
            config = json.loads(seen["env"]["OPENCODE_CONFIG_CONTENT"])
            assert config["theme"] == "mine"
            assert config["provider"]["stackctl"]["models"]["Qwen/Real"]["modalities"]["input"] == ["text"]
            assert config["provider"]["stackctl"]["models"]["Qwen/Real"]["limit"] == {"context": 32768, "output": 8192}
        else:
            path = seen["env"]["QWEN_CODE_SYSTEM_SETTINGS_PATH"]
            assert seen["modes"][path] == 0o600
            config = json.loads(seen["files"][path])
            (row,) = config["modelProviders"]["openai"]
            assert row["generationConfig"]["contextWindowSize"] == 32768
            assert row["generationConfig"]["modalities"] == {"image": False}
        assert KEY not in json.dumps(config)


# --- the user's own arguments


def test_the_users_settings_are_merged_over_ours(home: Path, running: StackPaths) -> None:
    dump = stub(home / "bin", "claude")
    own = {"env": {"API_TIMEOUT_MS": "5", "MINE": "1"}, "permissions": {"deny": ["Bash"], "allow": ["Read"]}}
    (home / "own.json").write_text(json.dumps(own))
    done = launch(home, "claude", "--", "--settings", "own.json", "-p")
    assert done.returncode == 0
    assert "your --settings own.json is merged over the stack's, which wins for API_TIMEOUT_MS" in done.stderr
    words = saw(dump)["argv"][1:]
    assert words.count("--settings") == 1
    merged = json.loads(saw(dump)["files"][words[1]])
    assert (merged["env"]["API_TIMEOUT_MS"], merged["env"]["MINE"]) == ("5", "1")
    assert merged["env"]["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert merged["permissions"] == {"deny": ["WebSearch", "Bash"], "allow": ["Read"]}


@pytest.mark.parametrize("value", ["missing.json", "{not json", "[1]", "bad.json"])
def test_settings_that_cannot_be_used_are_an_error_before_anything_runs(
    home: Path, running: StackPaths, value: str
) -> None:
    dump = stub(home / "bin", "claude")
    (home / "bad.json").write_text("[]" if value == "[1]" else "nonsense")
    done = launch(home, "claude", "--", f"--settings={value}")
    assert done.returncode == 2, done.stderr
    assert "--settings" in done.stderr
    assert not dump.exists()


def test_a_model_of_the_users_wins_and_its_price_is_said(home: Path, running: StackPaths) -> None:
    dump = stub(home / "bin", "claude")
    done = launch(home, "claude", "--", "--model", "claude-opus-4-8")
    assert done.returncode == 0
    assert saw(dump)["argv"][-2:] == ["--model", "claude-opus-4-8"]
    assert "ignores the true window of 32768 tokens" in done.stderr


def test_the_same_for_the_other_clients(home: Path, running: StackPaths) -> None:
    for client, words in (("codex", ("-m", "x")), ("opencode", ("--model=x",)), ("qwen", ("--model", "x"))):
        stub(home / "bin", client)
        done = launch(home, client, "--", *words)
        assert done.returncode == 0
        assert "wins over" in done.stderr


# --- its own terminal, signals and exit code


def test_it_becomes_the_client(home: Path, running: StackPaths) -> None:
    dump = stub(home / "bin", "claude")
    with subprocess.Popen(argv("claude", "--", "7"), env=environ(home), cwd=home, stderr=subprocess.DEVNULL) as process:
        assert process.wait(60) == 7
    assert saw(dump)["pid"] == process.pid


def test_piped_stdin_is_the_clients_and_stdout_has_only_its_words(home: Path, running: StackPaths) -> None:
    stub(home / "bin", "claude")
    done = launch(home, "claude", "--", "read", stdin="x\ny\n")
    assert (done.returncode, done.stdout) == (0, "got:x\ny\n")


def test_a_signal_that_ends_the_client_ends_it_like_without_us(home: Path, running: StackPaths) -> None:
    stub(home / "bin", "claude")
    assert launch(home, "claude", "--", "die").returncode == -signal.SIGKILL


@pytest.fixture
def terminal(home: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def make(*arguments: str) -> Terminal:
        opened.append(Terminal(argv(*arguments), environ(home), home))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def stack(home: Path) -> Path:
    """The configuration of a stack that is really started: the scripted engine, spoken to directly."""
    port = free_port()
    config = home / "stack.yaml"
    config.write_text(json.dumps({
        "engines": {"main": {"model": "scripted", "command": [sys.executable, str(ENGINE)], "port": port, "max_model_len": 32768}},
        "gateway": {"kind": "direct", "port": port},
    }))  # fmt: skip
    return config


def test_ctrl_c_and_a_resized_window_are_the_clients(
    home: Path, running: StackPaths, terminal: Callable[..., Terminal]
) -> None:
    """Two at once, in terminals of their own: each gets its own keys."""
    stub(home / "bin", "claude")
    stub(home / "bin", "codex")
    one, other = terminal("claude", "--", "wait"), terminal("codex", "--", "wait")
    one.read("waiting")
    other.read("waiting")
    one.resize(41, 123)
    one.read("size 123 41")
    one.type(b"\x03")
    assert one.end() == 5
    assert "interrupted" in one.seen
    assert "Traceback" not in one.seen
    other.type(b"\x03")
    assert other.end() == 5
    assert "size" not in other.seen


def test_down_after_stays_as_the_parent_and_stops_the_stack(
    home: Path, stack: Path, terminal: Callable[..., Terminal]
) -> None:
    dump = stub(home / "bin", "claude")
    session = terminal("claude", "--yes", "--down-after", "-c", str(stack), "--", "stop", "wait")
    session.read("ready", within=90)
    ends = time.monotonic() + 60
    while not dump.exists():
        assert time.monotonic() < ends, session.seen
        time.sleep(0.02)
    client = psutil.Process(saw(dump)["pid"])
    assert client.pid != session.pid
    assert client.ppid() == session.pid
    # Ctrl-Z: the client has stopped itself, so we stop too; on CONT both go on
    while psutil.Process(session.pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < ends, "the parent did not stop with the client"
        time.sleep(0.02)
    os.kill(session.pid, signal.SIGCONT)
    session.read("continued", "waiting")
    session.resize(30, 99)
    session.read("size 99 30")
    assert _status(home) == 0
    session.type(b"\x03")
    assert session.end() == 5
    assert "is down; nothing of it is left running" in session.seen
    assert _status(home) == 4
    assert not os.path.exists(runstate.tmp_path(StackPaths("default")))


def test_down_after_hands_a_signal_on(home: Path, stack: Path) -> None:
    dump = stub(home / "bin", "claude")
    with subprocess.Popen(
        argv("claude", "--yes", "--down-after", "-c", str(stack), "--", "wait"),
        env=environ(home), cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (6, "terminated\n"), err
    assert saw(dump)["env"]["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
    assert _status(home) == 4


def _status(home: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "stackctl", "status"], env=environ(home), cwd=home, capture_output=True, timeout=60, check=False
    )  # fmt: skip
    return done.returncode


# --- what is refused, and a dry run


def test_a_dry_run_shows_everything_but_the_key_and_does_nothing(home: Path) -> None:
    dump = stub(home / "bin", "claude")
    done = launch(home, "claude", "--dry-run", "--", "-p", "it's")
    assert done.returncode == 0, done.stderr
    assert "export ANTHROPIC_BASE_URL=http://127.0.0.1:4000\n" in done.stdout
    assert done.stdout.rstrip().endswith("-p 'it'\"'\"'s'")
    assert not dump.exists()
    assert not (home / "state" / "stacks").exists()


def test_a_dry_run_on_a_running_stack_hides_its_key(home: Path, running: StackPaths) -> None:
    for client in CLIENTS:
        stub(home / "bin", client)
        done = launch(home, client, "--dry-run", ANTHROPIC_API_KEY="sk-ant-theirs")
        assert done.returncode == 0, done.stderr
        assert "<the client key>" in done.stdout
        assert KEY not in done.stdout + done.stderr
        assert "sk-ant-theirs" not in done.stdout + done.stderr
    assert not os.path.exists(runstate.tmp_path(running))


@pytest.mark.parametrize(
    ("given", "said"),
    [("cluade", "did you mean claude?"), ("Codex", "did you mean codex?"), ("xyzzy", "it knows claude, codex")],
)
def test_an_unknown_client(home: Path, given: str, said: str) -> None:
    done = launch(home, given)
    assert done.returncode == 2
    assert said in done.stderr


def test_cursor_has_no_launch(home: Path) -> None:
    done = launch(home, "cursor")
    assert done.returncode == 2
    assert "stackctl env --client cursor" in done.stderr


@pytest.mark.parametrize(("client", "package"), [("claude", "@anthropic-ai/claude-code"), ("codex", "@openai/codex"), ("opencode", "opencode-ai"), ("qwen", "@qwen-code/qwen-code")])  # fmt: skip
def test_a_client_that_is_not_installed(home: Path, running: StackPaths, client: str, package: str) -> None:
    done = launch(home, client)
    assert done.returncode == 3
    assert f"npm install -g {package}" in done.stderr


@pytest.mark.parametrize(
    ("version", "broken", "said"),
    [
        ("1.0.9 (Claude Code)", 0, "1.0.9 is too old; 2.1.0 is the first that works"),
        ("Error: claude native binary not installed.", 1, "is broken"),
        ("no number at all", 0, "is broken"),
    ],
)
def test_a_client_that_is_too_old_or_broken(
    home: Path, running: StackPaths, version: str, broken: int, said: str
) -> None:
    dump = stub(home / "bin", "claude", version=version, broken=broken)
    done = launch(home, "claude")
    assert done.returncode == 3
    assert said in done.stderr
    assert "npm install -g @anthropic-ai/claude-code" in done.stderr
    assert not dump.exists()


@pytest.mark.parametrize(("name", "known"), [("claude", None), ("2.1.330", (2, 1, 330))])
def test_a_client_that_hangs_when_it_is_asked_for_its_version_is_started_all_the_same(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    known: tuple[int, ...] | None,
) -> None:
    (home / "bin").mkdir()
    program = home / "bin" / name
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    if name != "claude":  # as the native installer has it
        (home / "bin" / "claude").symlink_to(program)
    monkeypatch.setenv("PATH", f"{home / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(command, "_VERSION_SECONDS", 0.5)
    assert command._version(clients.get("claude"), str(program)) == known
    said = capsys.readouterr().err
    assert "`claude --version` did not answer within 0.5 s: not checked" in said
    assert ("by its files it is 2.1.330" in said) is (known is not None)


def test_a_version_that_does_not_know_the_window_runs_and_is_named(home: Path, running: StackPaths) -> None:
    dump = stub(home / "bin", "claude", version="2.1.150 (Claude Code)")
    done = launch(home, "claude")
    assert done.returncode == 0
    assert "2.1.150 believes in a window of 200k tokens" in done.stderr
    assert dump.exists()


def test_a_stack_that_does_not_start_says_why_and_no_client_runs(home: Path, stack: Path) -> None:
    dump = stub(home / "bin", "claude")
    text = json.loads(stack.read_text())
    text["engines"]["main"]["command"] += ["--fake-fault", "fail=oom_load"]
    stack.write_text(json.dumps(text))
    done = launch(home, "claude", "--yes", "-c", str(stack))
    assert done.returncode == 1, done.stderr
    assert "memory" in done.stderr
    assert not dump.exists()
    assert _status(home) == 4


def test_another_plan_than_the_one_that_runs_is_refused(home: Path, stack: Path) -> None:
    dump = stub(home / "bin", "claude")
    try:
        first = launch(home, "claude", "--yes", "-c", str(stack))
        assert first.returncode == 0, first.stderr
        same = launch(home, "claude", "-c", str(stack), "--gateway", "direct", "--", "3")
        assert same.returncode == 3, same.stderr
        dump.unlink()
        done = launch(home, "claude", "-c", str(stack), "--model", "another")
        assert done.returncode == 1
        assert "already runs, with another plan" in done.stderr
        assert not dump.exists()
    finally:
        subprocess.run([sys.executable, "-m", "stackctl", "down"], env=environ(home), cwd=home, timeout=60, check=True)


def test_a_key_that_cannot_be_read(home: Path, running: StackPaths) -> None:
    dump = stub(home / "bin", "claude")
    os.unlink(running.client_key)
    os.symlink("/etc/hostname", running.client_key)
    done = launch(home, "claude")
    assert done.returncode == 1
    assert "client.key cannot be read" in done.stderr
    assert not dump.exists()


def test_without_a_terminal_and_without_yes_nothing_is_started(home: Path, stack: Path) -> None:
    dump = stub(home / "bin", "claude")
    done = launch(home, "claude", "-c", str(stack), stdin="a prompt")
    assert done.returncode == 4
    assert "there is no terminal to ask on" in done.stderr
    assert "--yes" in done.stderr
    assert not dump.exists()
    assert _status(home) == 4


def test_a_no_on_the_terminal_starts_nothing(home: Path, stack: Path, terminal: Callable[..., Terminal]) -> None:
    dump = stub(home / "bin", "claude")
    session = terminal("claude", "-c", str(stack))
    session.read("is not running. Start it? [Y/n]")
    session.type(b"n\n")
    assert session.end() == 4
    assert not dump.exists()
