"""`stackctl env`: exports alone on stdout, quoted for real shells, honest about what runs, and light."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import identity, shell
from stackctl.clients import claude
from stackctl.errors import StackError
from stackctl.model import RouteFacts
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-stackctl-canary'\"$(touch owned)`touch owned`"
CLIENT = {
    "url": "http://127.0.0.1:4000",
    "model": "claude-local",
    "window": 32768,
    "output_limit": 1024,
    "timeout": 600,
}
HEAVY = (
    "pydantic",
    "rich",
    "jinja2",
    "asyncio",
    "httpx",
    "typer",
    "msgspec",
    "yaml",
    "psutil",
    "dataclasses",
    "subprocess",
    "socket",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackPaths:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return StackPaths("default")


def give_key(paths: StackPaths, key: str = KEY) -> None:
    os.makedirs(paths.root, mode=0o700)
    with open(paths.client_key, "w", encoding="utf-8") as stream:
        stream.write(key + "\n")


def say_running(paths: StackPaths, state: str = "ready") -> None:
    """A state file whose supervisor is this very process."""
    me = identity.mine()
    written = {
        "schema": 1,
        "state": state,
        "boot_id": me.boot_id,
        "supervisor": {"pid": me.pid, "start_ticks": me.start_ticks},
        "client": CLIENT,
    }
    with open(paths.state, "w", encoding="utf-8") as stream:
        json.dump(written, stream)


def env(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "STACKCTL_HOME": os.environ["STACKCTL_HOME"], **extra}
    return subprocess.run(
        [sys.executable, "-m", "stackctl", "env", *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_before_the_first_up_there_is_no_key_and_nothing_to_eval(home: StackPaths) -> None:
    got = env()
    assert (got.returncode, got.stdout) == (4, "")
    assert "stackctl up" in got.stderr
    assert not os.path.exists(home.root)


@pytest.mark.parametrize("program", [name for name in ("dash", "bash", "zsh", "sh") if shutil.which(name)])
def test_a_real_shell_evaluates_it_to_exactly_these_values(home: StackPaths, program: str) -> None:
    give_key(home)
    say_running(home)
    got = env(NO_PROXY="corp.example,10.0.0.0/8", no_proxy="other.example")
    assert got.returncode == 0, got.stderr
    after = subprocess.run(
        [program, "-c", 'eval "$1"; exec "$2" -c "import json,os; print(json.dumps(dict(os.environ)))"', "x", got.stdout, sys.executable],
        capture_output=True, text=True, timeout=60, check=True, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    seen = json.loads(after.stdout)
    assert seen["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert seen["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4000"
    assert (
        seen["ANTHROPIC_MODEL"]
        == seen["ANTHROPIC_DEFAULT_HAIKU_MODEL"]
        == seen["CLAUDE_CODE_SUBAGENT_MODEL"]
        == "claude-local"
    )
    assert seen["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "32768"
    assert int(seen["CLAUDE_CODE_MAX_OUTPUT_TOKENS"]) < 32768
    assert set(seen["NO_PROXY"].split(",")) >= {"corp.example", "10.0.0.0/8", "other.example", "127.0.0.1", "localhost"}
    assert seen["NO_PROXY"] == seen["no_proxy"]
    assert not os.path.exists("owned")


def test_an_api_key_beside_the_token_is_unset_and_said(home: StackPaths) -> None:
    give_key(home)
    say_running(home)
    got = env(ANTHROPIC_API_KEY="sk-ant-theirs")
    assert "unset ANTHROPIC_API_KEY\n" in got.stdout
    assert "ANTHROPIC_API_KEY" in got.stderr
    assert "sk-ant-theirs" not in got.stdout + got.stderr


def test_with_nothing_running_nothing_is_exported(home: StackPaths) -> None:
    """The address of a dead gateway in a start-up file would break the client for everything else too."""
    give_key(home, "sk-stackctl-x")
    got = env()
    assert (got.returncode, got.stdout) == (4, "")
    assert "is not running: nothing is exported" in got.stderr
    assert "stackctl up -d" in got.stderr
    assert "--planned" in got.stderr


@pytest.mark.parametrize("key", ["", "sk-stackctl-x"])
def test_a_start_up_file_can_have_it_without_a_word(home: StackPaths, key: str) -> None:
    if key:
        give_key(home, key)
    got = env("--quiet")
    assert (got.returncode, got.stdout, got.stderr) == (4, "", "")


@pytest.mark.parametrize("asked", ["--planned", "-c"])
def test_what_the_configuration_promises_is_there_for_the_asking(home: StackPaths, asked: str, tmp_path: Path) -> None:
    give_key(home, "sk-stackctl-x")
    (tmp_path / "mine.yaml").write_text("gateway: {port: 4567}\n")
    got = env("-c", "mine.yaml", *([asked] if asked != "-c" else []))
    assert got.returncode == 0, got.stderr
    assert "export ANTHROPIC_AUTH_TOKEN=sk-stackctl-x\n" in got.stdout
    assert "export ANTHROPIC_BASE_URL=http://127.0.0.1:4567\n" in got.stdout
    assert "is not running" in got.stderr
    assert "not running" not in got.stdout


def test_a_state_of_a_dead_supervisor_is_not_running(home: StackPaths) -> None:
    give_key(home, "sk-stackctl-x")
    say_running(home)
    with open(home.state, encoding="utf-8") as stream:
        state = json.load(stream)
    state["supervisor"]["start_ticks"] += 1  # our pid, another process: a recycled number
    with open(home.state, "w", encoding="utf-8") as stream:
        json.dump(state, stream)
    assert "is not running" in env().stderr


def test_a_stack_that_is_being_stopped_is_not_running(home: StackPaths) -> None:
    give_key(home)
    say_running(home, "stopping")
    got = env()
    assert (got.returncode, got.stdout) == (4, "")
    assert "is not running" in got.stderr


def test_mistakes_are_the_full_parsers(home: StackPaths) -> None:
    got = env("--shel", "fish")
    assert got.returncode == 2
    assert got.stdout == ""
    assert "--shel" in got.stderr


def test_an_unknown_shell_is_answered_with_the_nearest(home: StackPaths) -> None:
    give_key(home)
    say_running(home)
    got = env("--shell", "fsh")
    assert (got.returncode, got.stdout) == (2, "")
    assert "stackctl env --shell fish" in got.stderr


@pytest.mark.parametrize(("given", "meant"), [("cluade", "claude"), ("codx", "codex"), ("qwen-code", "qwen")])
def test_an_unknown_client_is_answered_with_the_nearest(home: StackPaths, given: str, meant: str) -> None:
    give_key(home)
    say_running(home)
    got = env("--client", given)
    assert (got.returncode, got.stdout) == (2, "")
    assert f"did you mean {meant}?" in got.stderr


def test_cursor_is_told_the_truth(home: StackPaths) -> None:
    give_key(home)
    say_running(home)
    got = env("--client", "cursor")
    assert (got.returncode, got.stdout) == (2, "")
    assert "its own servers make the requests" in got.stderr
    assert KEY not in got.stderr


def test_a_settings_file_that_beats_the_shell_is_named(home: StackPaths, tmp_path: Path) -> None:
    give_key(home)
    say_running(home)
    (tmp_path / "user" / ".claude").mkdir(parents=True)
    settings = {"env": {"ANTHROPIC_BASE_URL": "https://other.example", "ANTHROPIC_AUTH_TOKEN": "sk-of-theirs"}}
    (tmp_path / "user" / ".claude" / "settings.json").write_text(json.dumps(settings))
    got = env(HOME=str(tmp_path / "user"))
    assert got.returncode == 0
    assert "settings.json sets ANTHROPIC_BASE_URL to https://other.example" in got.stderr
    assert "settings.json sets ANTHROPIC_AUTH_TOKEN\n" in got.stderr
    assert "sk-of-theirs" not in got.stdout + got.stderr
    assert "launch claude` beats both" in got.stderr


def test_a_hostile_name_is_refused(home: StackPaths) -> None:
    got = env("--name", "../../etc")
    assert got.returncode == 2
    assert "1 to 32 of a-z" in got.stderr


def test_another_stacks_name_is_another_stack(home: StackPaths) -> None:
    give_key(home)
    assert env("--name", "coder").returncode == 4


def test_an_unreadable_key_is_an_error_not_a_missing_one(home: StackPaths) -> None:
    os.makedirs(home.root, mode=0o700)
    os.symlink("/etc/hostname", home.client_key)
    got = env()
    assert got.returncode == 1
    assert "client.key" in got.stderr
    assert got.stdout == ""


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "\x1b[2J", "\x7f"])
@pytest.mark.parametrize("kind", shell.SHELLS)
def test_control_characters_are_never_exported(kind: str, value: str) -> None:
    with pytest.raises(StackError, match="control character"):
        shell.lines(kind, [("set", "A", value)])


@pytest.mark.parametrize("name", ["", "A B", "1A", "A=B", "$(x)", "Ä"])
def test_names_that_no_shell_knows_are_refused(name: str) -> None:
    with pytest.raises(StackError, match="not a name"):
        shell.exports({name: "x"})
    with pytest.raises(StackError, match="not a name"):
        shell.lines("fish", [("copy", "A", name)])


def test_the_real_model_is_named_beside_the_honest_alias() -> None:
    made = claude.environment({**CLIENT, "served": "Qwen/Qwen3-Coder-30B"}, "k", {})
    assert made["ANTHROPIC_CUSTOM_MODEL_OPTION"] == "claude-local"
    assert "Qwen/Qwen3-Coder-30B" in made["ANTHROPIC_CUSTOM_MODEL_OPTION_DESCRIPTION"]


def test_without_a_window_none_is_claimed() -> None:
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS" not in claude.environment({**CLIENT, "window": None}, "k", {})


ROUTES = (
    RouteFacts("opus", "claude-local-opus", "anthropic/claude-opus-4-8"),
    RouteFacts("background", "claude-local-background", "acme/small", "attic", 16384, 4096),
    RouteFacts("subagent", "claude-local-subagent", "acme/middle", "loft", 24576, 6144),
    RouteFacts("gpt-4o", "gpt-4o", "acme/tiny", "cellar", 1024, 256),
)


def routed(**changed: Any) -> dict[str, Any]:
    """The facts of a stack with routes, as the state file has them."""
    found: dict[str, Any] = json.loads(
        json.dumps({**CLIENT, "served": "acme/coder", "routes": list(map(asdict, ROUTES))})
    )
    return {**found, **changed}


def test_each_kind_of_work_asks_for_its_route() -> None:
    made = claude.environment(routed(), "k", {})
    asked = {tier: made[f"ANTHROPIC_DEFAULT_{tier}_MODEL"] for tier in claude.TIERS}
    assert asked == {
        "OPUS": "claude-local-opus",
        "SONNET": "claude-local",
        "HAIKU": "claude-local-background",
        "FABLE": "claude-local",
    }
    assert made["ANTHROPIC_MODEL"] == "claude-local"
    assert made["CLAUDE_CODE_SUBAGENT_MODEL"] == "claude-local-subagent"
    says = {tier: made[f"ANTHROPIC_DEFAULT_{tier}_MODEL_DESCRIPTION"] for tier in claude.TIERS}
    assert says["OPUS"] == "anthropic/claude-opus-4-8, hosted, in place of Opus"
    assert says["HAIKU"] == "acme/small in place of Haiku"
    assert says["SONNET"] == "acme/coder in place of Sonnet"


def test_the_window_is_the_smallest_of_those_that_may_be_used() -> None:
    made = claude.environment(routed(window=131072, output_limit=32000), "k", {})
    assert made["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "16384"  # no kind of work asks for gpt-4o
    assert made["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "4096"
    assert (
        claude.environment(routed(window=8192, output_limit=2000), "k", {})["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "8192"
    )


def test_a_provider_that_gave_no_token_is_described_so() -> None:
    facts = routed()
    facts["routes"][0]["problem"] = "invalid x-api-key"
    made = claude.environment(facts, "k", {})
    assert made["ANTHROPIC_DEFAULT_OPUS_MODEL_DESCRIPTION"].endswith("gave no token when the stack started")


def test_an_older_claude_code_asks_for_the_twins_of_routes_too() -> None:
    made = claude.environment(claude.adapt(routed(), (2, 1, 197)), "k", {})
    assert made["ANTHROPIC_MODEL"] == "anthropic-local"
    assert made["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "anthropic-local-background"


def test_it_imports_almost_nothing(home: StackPaths) -> None:
    give_key(home, "sk-stackctl-x")
    say_running(home)
    code = (
        "import sys; sys.argv = ['stackctl', 'env']\n"
        "from stackctl.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as leaving: assert leaving.code == 0, leaving.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert got.stderr.strip() == "[]"
    assert "export ANTHROPIC_BASE_URL=" in got.stdout


@pytest.mark.parametrize("content", ["", "\n", "short", "x" * 600, "sk-stackctl-0123\n0123456789abcdef"])
def test_what_is_not_a_key_is_never_used_as_one(home: StackPaths, content: str) -> None:
    give_key(home, content)
    got = env("--planned")
    assert got.returncode == 1
    assert got.stdout == ""
    assert "does not hold a key" in got.stderr


@pytest.mark.parametrize("file", ["client.key", "state.json"])
def test_a_fifo_in_place_of_a_file_holds_nothing_up(home: StackPaths, file: str) -> None:
    give_key(home, "sk-stackctl-0123456789")
    path = os.path.join(home.root, file)
    if os.path.exists(path):
        os.unlink(path)
    os.mkfifo(path)
    assert env().returncode in {1, 4}


@pytest.mark.parametrize("state", ["[" * 100_000, '{"schema": 1}', "[]", "null"])
def test_a_spoilt_state_file_is_not_running(home: StackPaths, state: str) -> None:
    give_key(home, "sk-stackctl-0123456789")
    with open(home.state, "w", encoding="utf-8") as stream:
        stream.write(state)
    got = env()
    assert got.returncode == 4
    assert "Traceback" not in got.stderr


def test_without_a_home_it_says_so(tmp_path: Path) -> None:
    # a uid without an entry and without HOME gets `~`, which is as relative as this
    environ = {"PATH": os.environ["PATH"], "HOME": "relative"}
    argv = [sys.executable, "-m", "stackctl", "env"]
    got = subprocess.run(argv, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert got.returncode == 3, got.stderr
    assert "no home directory" in got.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">/dev/full", "2>/dev/full"])
def test_closed_and_full_streams_are_no_traceback(home: StackPaths, redirection: str) -> None:
    give_key(home, "sk-stackctl-0123456789")
    say_running(home)
    command = f'"$1" -m stackctl env {redirection}'
    got = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in got.stderr
    assert got.returncode == (1 if redirection == ">/dev/full" else 0)
