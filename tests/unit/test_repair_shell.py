"""What `doctor --fix --shell` prints: the variables that are wrong and no others, proved first; nothing where it would not help."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import repair
from stackctl.checks.facts import Facts
from stackctl.commands import doctor, doctor_shell
from stackctl.commands.doctor_request import Request
from stackctl.config import Flags
from stackctl.errors import ConfigError
from stackctl.model import ClientFacts, Finding, Status
from stackctl.runstate import StackState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RIGHT = "sk-stackctl-right-key"
URL = "http://127.0.0.1:4000"
NAMES = (
    "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_MODEL", "ANTHROPIC_CUSTOM_HEADERS", "NO_PROXY",
    "no_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "STACKCTL_SET", "STACKCTL_SAVED_ANTHROPIC_API_KEY",
    "SSL_CERT_FILE", "CLAUDECODE", "CLAUDE_CODE_ATTRIBUTION_HEADER",
)  # fmt: skip


def proposed(fix: str, environ: Mapping[str, str], *, running: bool = True, key: str | None = RIGHT) -> Any:
    state = StackState("default", "digest", URL, None)
    state.client = ClientFacts(URL, "claude-local", "qwen", 32768, 8192)
    facts = Facts(environ, "/home/u", "/", Flags(), True, state=state if running else None, running=running, client_key=key)  # fmt: skip
    change = repair.propose(facts, Finding("client.x", Status.FAIL, "it is wrong", fix=fix))
    return None if change is None else list(change.variables)


@pytest.mark.parametrize(
    ("fix", "environ", "made"),
    [
        ("shell.stack ANTHROPIC_BASE_URL", {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}, [("set", "ANTHROPIC_BASE_URL", URL)]),
        ("shell.stack ANTHROPIC_AUTH_TOKEN", {}, [("set", "ANTHROPIC_AUTH_TOKEN", RIGHT)]),
        ("shell.stack 'API_TIMEOUT_MS ANTHROPIC_SMALL_FAST_MODEL'", {"API_TIMEOUT_MS": "600000", "ANTHROPIC_SMALL_FAST_MODEL": "x"}, [("unset", "ANTHROPIC_SMALL_FAST_MODEL", "")]),
        ("shell.unset 'A B'", {"A": "1"}, [("unset", "A", "")]),
        ("shell.proxy", {"NO_PROXY": "corp", "no_proxy": "corp,127.0.0.1,localhost,::1"}, [("set", "NO_PROXY", "corp,127.0.0.1,localhost,::1")]),
        ("shell.clean ANTHROPIC_BASE_URL", {"ANTHROPIC_BASE_URL": f"{URL}\r"}, [("set", "ANTHROPIC_BASE_URL", URL)]),
        ("shell.clean ANTHROPIC_AUTH_TOKEN", {"ANTHROPIC_AUTH_TOKEN": "'Bearer sk-1'"}, [("set", "ANTHROPIC_AUTH_TOKEN", "sk-1")]),
        ("shell.clean ANTHROPIC_CUSTOM_HEADERS", {"ANTHROPIC_CUSTOM_HEADERS": "X-A: 1\nAuthorization: Bearer x"}, [("set", "ANTHROPIC_CUSTOM_HEADERS", "X-A: 1")]),
        ("shell.clean ANTHROPIC_CUSTOM_HEADERS", {"ANTHROPIC_CUSTOM_HEADERS": "x-api-key: x"}, [("unset", "ANTHROPIC_CUSTOM_HEADERS", "")]),
        ("shell.clean ANTHROPIC_BASE_URL || shell.stack ANTHROPIC_BASE_URL", {"ANTHROPIC_BASE_URL": "https://127.0.0.1:4000"}, [("set", "ANTHROPIC_BASE_URL", URL)]),
    ],
)  # fmt: skip
def test_just_what_differs_is_changed(fix: str, environ: dict[str, str], made: list[tuple[str, str, str]]) -> None:
    assert proposed(fix, environ) == made


@pytest.mark.parametrize(
    ("fix", "environ", "known"),
    [
        ("shell.stack ANTHROPIC_BASE_URL", {"ANTHROPIC_BASE_URL": "x"}, {"running": False}),
        ("shell.stack ANTHROPIC_AUTH_TOKEN", {}, {"running": False}),
        ("shell.stack ANTHROPIC_AUTH_TOKEN", {"ANTHROPIC_AUTH_TOKEN": "x"}, {"key": None}),
        ("shell.clean ANTHROPIC_CUSTOM_HEADERS", {"ANTHROPIC_CUSTOM_HEADERS": "A: 1\nB: 2\nx-api-key: x"}, {}),
        ("shell.unset ANTHROPIC_API_KEY", {}, {}),
    ],
)
def test_nothing_is_invented(fix: str, environ: dict[str, str], known: dict[str, Any]) -> None:
    assert proposed(fix, environ, **known) is None


@pytest.mark.parametrize(
    ("files", "named", "meant"),
    [
        (["stack.yaml", "notes.txt"], "stakc.yaml", "stack.yaml"),
        (["desk/stack.yaml"], "desk", "desk/stack.yaml"),
        (["stack.yaml", "stacks.yaml"], "stac.yaml", None),  # two can be meant
        (["other.yaml"], "stack.yaml", None),
        (["desk/other.yaml"], "desk", None),
        (["stack.yaml"], "stack.yaml", None),  # it is there: something else is wrong with it
    ],
)
def test_a_configuration_that_the_shell_misnames(
    tmp_path: Path, files: list[str], named: str, meant: str | None
) -> None:
    for each in files:
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_text("{}")
    made = proposed("shell.config", {"STACKCTL_CONFIG": str(tmp_path / named)})
    assert made == (None if meant is None else [("set", "STACKCTL_CONFIG", str(tmp_path / meant))])


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A shell without anything of these, whatever the one of the tests has; put back afterwards."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def port() -> Any:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def fixed(port: int, **more: Any) -> Any:
    return doctor.run(Request(Flags(), url=f"http://127.0.0.1:{port}", static=True, fix=True, **more))


def test_the_lines_are_for_what_was_wrong_alone_and_can_be_taken_back(shell: pytest.MonkeyPatch, port: int) -> None:
    shell.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}/v1")
    shell.setenv("ANTHROPIC_AUTH_TOKEN", "sk-mine-0123456789")
    shell.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-0123456789")
    ended = fixed(port, yes=True, shell="sh")
    lines = ended.stdout.splitlines()
    kept = [each for each in lines if "STACKCTL_" not in each]
    assert sorted(kept) == [f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{port}", "unset ANTHROPIC_API_KEY"]
    assert 'export STACKCTL_SAVED_ANTHROPIC_API_KEY="$ANTHROPIC_API_KEY"' in lines
    assert [each["outcome"] for each in ended.data["repairs"]] == ["repaired", "repaired"]
    assert "sk-" not in ended.stdout


def test_without_a_yes_or_somebody_to_ask_nothing_is_printed(shell: pytest.MonkeyPatch, port: int) -> None:
    shell.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}/v1")
    ended = fixed(port, shell="sh")
    assert ended.stdout == ""
    assert [each["outcome"] for each in ended.data["repairs"]] == ["shown"]


def test_what_does_not_help_is_not_printed(shell: pytest.MonkeyPatch, port: int) -> None:
    shell.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9/v1/v1")
    ended = fixed(port, yes=True, shell="sh")
    assert [each["outcome"] for each in ended.data["repairs"]] == ["undone"]
    assert ended.stdout == ""


def test_a_plain_fix_shows_the_change_and_the_line_to_type(
    shell: pytest.MonkeyPatch, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}/v1")
    shell.setenv("ANTHROPIC_AUTH_TOKEN", "sk-canary-0123456789")
    shell.setenv("ANTHROPIC_API_KEY", "sk-ant-canary-0123456789")
    ended = fixed(port, yes=True)
    said = capsys.readouterr().err
    assert f"-ANTHROPIC_BASE_URL=http://127.0.0.1:{port}/v1\n    +ANTHROPIC_BASE_URL=http://127.0.0.1:{port}\n" in said
    assert "-ANTHROPIC_BASE_URL" in said
    assert f"doctor --fix --shell {doctor_shell.kind()} --url http://127.0.0.1:{port} --static" in said
    assert "canary" not in said
    assert ended.stdout == ""
    assert {each["outcome"] for each in ended.data["repairs"]} == {"shown"}


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("bash", "eval \"$(stackctl doctor --fix --shell bash -c '/a b/stack.yaml' --name two)\""),
        ("fish", "stackctl doctor --fix --shell fish -c '/a b/stack.yaml' --name two | source"),
        (
            "pwsh",
            "stackctl doctor --fix --shell pwsh -c '/a b/stack.yaml' --name two | Out-String | Invoke-Expression",
        ),
    ],
)
def test_the_line_to_type_is_of_the_shell_and_asks_for_the_same(kind: str, line: str) -> None:
    assert doctor_shell.line(kind, Request(Flags(config="/a b/stack.yaml", name="two"), fix=True)) == line


@pytest.mark.parametrize("more", [{"fix": False}, {"shell": "tcsh"}, {"shell": "json"}, {"as_json": True}])
def test_what_cannot_be_meant_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        doctor.run(Request(Flags(), **{"fix": True, "shell": "sh", **more}))
