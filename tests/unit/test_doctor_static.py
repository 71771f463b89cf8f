"""Static checks on files and environments made for it: one thing wrong, one finding; nothing wrong, none."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from stackctl import config, files, trust
from stackctl.checks import (
    as_started,
    configuration,
    facts,
    handmade,
    machine,
    modelfiles,
    neighbour,
    roster,
    runner,
)
from stackctl.checks import client as client_checks
from stackctl.config import Flags
from stackctl.errors import ConfigError
from stackctl.model import ClientFacts, Status
from stackctl.paths import StackPaths
from stackctl.runstate import StackState
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stackctl.checks.check import Check
    from stackctl.model import Finding

GOOD: dict[str, Any] = {
    "model_list": [
        {"model_name": "claude-local", "litellm_params": {"model": "anthropic/qwen", "api_base": "http://127.0.0.1:8000"}},
        {"model_name": "qwen", "litellm_params": {"model": "hosted_vllm/qwen", "api_base": "http://127.0.0.1:8000/v1"}},
    ],
    "litellm_settings": {"drop_params": True, "modify_params": True, "request_timeout": 600, "num_retries": 0},
    "router_settings": {"disable_cooldowns": True, "num_retries": 0},
    "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def bad(checks: Sequence[Check], seen: facts.Facts) -> list[Finding]:
    found = runner.run(checks, seen, budget=60)
    assert not [each for each in found if each.id.startswith("doctor.")], found
    return [each for each in found if each.status in {Status.FAIL, Status.WARN}]


# --- a litellm_config.yaml of one's own


def lint(tmp_path: Path, text: str, **environ: str) -> list[str]:
    file = tmp_path / "litellm_config.yaml"
    file.write_text(text)
    seen = facts.gather(
        Flags(config=str(file)), litellm_config=str(file), static=True,
        environ={"HOME": str(tmp_path), "LITELLM_MASTER_KEY": "sk-0123456789abcdef", **environ},
    )  # fmt: skip
    return [each.id for each in bad(handmade.CHECKS, seen)]


def changed(*path: str | int, to: Any = None) -> str:
    made = json.loads(json.dumps(GOOD))
    at = made
    for key in path[:-1]:
        at = at[key]
    if to is None:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return yaml.safe_dump(made)


def test_a_good_file_has_nothing_said_against_it(tmp_path: Path) -> None:
    assert lint(tmp_path, yaml.safe_dump(GOOD)) == []


FIRST = ("model_list", 0, "litellm_params")
SECOND = ("model_list", 1, "litellm_params")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (changed(*FIRST, "api_base", to="http://127.0.0.1:8000/v1"), "configuration.base-with-v1"),
        (changed(*SECOND, "api_base", to="http://127.0.0.1:8000"), "configuration.base-without-v1"),
        (changed(*SECOND, "model", to="openai/qwen"), "configuration.openai-provider"),
        (changed(*SECOND, "model", to="qwen"), "configuration.no-provider"),
        (changed(*SECOND, "model", to="Qwen/Qwen3-8B"), "configuration.no-provider"),
        (changed(*SECOND, "model", to="vllm/qwen"), "configuration.vllm-inside"),
        (changed(*SECOND, "api_base", to="127.0.0.1:8000/v1"), "configuration.no-scheme"),
        (changed(*SECOND, "api_key", to="${VLLM_API_KEY}"), "configuration.not-expanded"),
        (changed("litellm_settings", "drop_params").replace("modify_params", "drop_param"), "configuration.misspelt"),
        (changed("router_settings", "fallbacks", to=[{"qwen": ["nobody"]}]), "configuration.fallback-target"),
        (changed(*SECOND, "api_base", to="http://127.0.0.1:8000/v1/models"), "configuration.base-endpoint"),
        (changed("model_list", 1, to={"model_name": "qwen", "model": "hosted_vllm/qwen"}), "configuration.row-params"),
        (changed(*SECOND, "api_base", to="http://localhost:9/v1"), "configuration.row-loops"),
        (changed("model_list", 1, to={"model_name": "*", "litellm_params": {**GOOD["model_list"][1]["litellm_params"], "model": "hosted_vllm/*"}}), "configuration.name-handed-on"),
        (changed("litellm_settings", "callbacks", to="my_hook.handler"), "configuration.hook-gone"),
        (yaml.safe_dump(GOOD) + "model_list:\n- {model_name: claude-b, litellm_params: {model: hosted_vllm/b}}\n", "configuration.key-twice"),
        (yaml.safe_dump(GOOD).replace("model_list", "model-list"), "configuration.unknown-section"),
        (changed("litellm_settings", "drop_params"), "configuration.drop-params"),
        (changed("general_settings", "master_key", to="os.environ/NOT_SET"), "configuration.missing-variable"),
        (changed("general_settings", "master_key", to="sk-0123456789abcdef"), "configuration.literal-key"),
        (changed("litellm_settings", "master_key", to="os.environ/LITELLM_MASTER_KEY"), "configuration.master-key-place"),
        (changed("router_settings", "num_retries", to=2), "configuration.retries"),
        (changed("router_settings", "disable_cooldowns"), "configuration.cooldowns"),
        (changed("litellm_settings", "request_timeout", to=30), "configuration.timeout"),
        (changed("model_list", 0, "model_name", to="local"), "configuration.undiscoverable"),
        (changed("router_settings", "model_group_alias", to={"opus": "nobody"}), "configuration.alias-target"),
        (changed("model_list", 1, "model_name", to="claude-local").replace("hosted_vllm/qwen", "hosted_vllm/other"), "configuration.two-meanings"),
        (changed("litellm_settings", "success_callback", to=["langfuse"]), "configuration.callbacks"),
        (yaml.safe_dump(GOOD).replace("litellm_settings", "litelm_settings"), "configuration.unknown-section"),
        (changed("model_list", to=[]), "configuration.no-models"),
        ("model_list:\n  - model_name: a\n   litellm_params: {}\n", "configuration.unreadable"),
        (changed(*SECOND, "api_base", to="http://[::1"), "configuration.unreadable"),
    ],
)  # fmt: skip
def test_each_mistake_is_named(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in lint(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        changed(*SECOND, "api_base", to="http://127.0.0.1:8000/v1/models"),
        changed(*SECOND, "api_base", to="localhost:8000"),
        changed("model_list", 1, to={"model_name": "qwen", "model": "hosted_vllm/qwen"}),
        yaml.safe_dump(GOOD) + "model_list:\n- {model_name: b, litellm_params: {model: openai/b}}\n",
        yaml.safe_dump(GOOD).replace("model_list", "model-list"),
    ],
)
def test_one_mistake_is_named_once(tmp_path: Path, text: str) -> None:
    assert len(lint(tmp_path, text)) == 1


def test_what_serves_any_name_or_brings_its_own_code_may_be_right(tmp_path: Path) -> None:
    (tmp_path / "my_hook.py").write_text("handler = None")
    row = {"model_name": "claude-*", "litellm_params": GOOD["model_list"][1]["litellm_params"]}
    text = changed("litellm_settings", "callbacks", to=["my_hook.handler", "prometheus"])
    assert lint(tmp_path, text) == []
    assert lint(tmp_path, changed("model_list", 1, to=row)) == []
    assert lint(tmp_path, changed(*SECOND, "api_base", to="http://127.0.0.1:8000/v1/chat/completions")) == []
    shared = yaml.safe_dump(GOOD).replace("general_settings:", "x: &a {b: 1}\ny: {<<: *a, c: 2}\ngeneral_settings:")
    assert lint(tmp_path, shared) == []


def test_a_missing_master_key_is_looked_for_in_the_environment_too(tmp_path: Path) -> None:
    text = changed("general_settings", "master_key")
    assert lint(tmp_path, text) == []
    assert lint(tmp_path, text, LITELLM_MASTER_KEY="") == ["configuration.no-master-key"]


def test_a_providers_own_rows_need_no_tuning_for_a_local_engine(tmp_path: Path) -> None:
    hosted = {
        "model_list": [{"model_name": "claude-x", "litellm_params": {"model": "anthropic/claude-x"}}],
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
    assert lint(tmp_path, yaml.safe_dump(hosted)) == []


# --- the client's shell


def client(
    tmp_path: Path,
    environ: Mapping[str, str] | None = None,
    *,
    running: bool = True,
    port: int = 0,
    static: bool = True,
) -> list[tuple[str, str]]:
    """The findings in the shell of a user whose stack listens on `port`."""
    state = StackState("default", "digest", f"http://127.0.0.1:{port}", None)
    state.client = ClientFacts(f"http://127.0.0.1:{port}", "claude-local", "qwen", 32768, 8192)
    seen = facts.Facts(
        environ={"HOME": str(tmp_path), "PATH": str(tmp_path / "bin"), **(environ or {})}, home=str(tmp_path), cwd=str(tmp_path / "project"),
        flags=Flags(), static=static, state=state if running else None, running=running, client_key="sk-stackctl-right-key",
    )  # fmt: skip
    return [(each.id, each.status) for each in bad(client_checks.CHECKS, seen)]


@pytest.fixture
def listening() -> Any:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def exports(port: int) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
        "ANTHROPIC_AUTH_TOKEN": "sk-stackctl-right-key",
        "ANTHROPIC_MODEL": "claude-local",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "32768",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8192",
        "NO_PROXY": "127.0.0.1",
    }


def test_a_clean_shell_and_one_with_the_exports_are_fine(tmp_path: Path, listening: int) -> None:
    assert client(tmp_path, port=listening) == []
    assert client(tmp_path, exports(listening), port=listening) == []
    older = {
        **exports(listening),
        "ANTHROPIC_MODEL": "anthropic-local",
    }  # what `env` gives to Claude Code before 2.1.325
    assert client(tmp_path, older, port=listening) == []
    assert client(tmp_path, running=False) == []


@pytest.mark.parametrize(
    ("name", "spoil", "status"),
    [
        ("ANTHROPIC_BASE_URL", "{}\r", "warn"),
        ("ANTHROPIC_BASE_URL", '"{}"', "fail"),
        ("ANTHROPIC_AUTH_TOKEN", "{}\n", "warn"),
        ("ANTHROPIC_AUTH_TOKEN", "Bearer {}", "fail"),
        ("ANTHROPIC_MODEL", "{} ", "warn"),
    ],
)
def test_a_value_with_something_left_in_it_is_named_once(
    tmp_path: Path, listening: int, name: str, spoil: str, status: str
) -> None:
    shell = exports(listening)
    shell[name] = spoil.format(shell[name])
    assert client(tmp_path, shell, port=listening) == [("client.malformed", status)]


@pytest.mark.parametrize("change", ["", "https://"])
def test_an_address_of_another_scheme_is_named(tmp_path: Path, listening: int, change: str) -> None:
    shell = exports(listening)
    shell["ANTHROPIC_BASE_URL"] = shell["ANTHROPIC_BASE_URL"].replace("http://", change)
    assert client(tmp_path, shell, port=listening) == [("client.malformed", "fail")]


def test_a_header_that_takes_the_keys_place_is_named_and_others_are_not(tmp_path: Path, listening: int) -> None:
    headers = "X-Team: a\nAuthorization: Bearer other"
    assert client(tmp_path, exports(listening) | {"ANTHROPIC_CUSTOM_HEADERS": "X-Team: a"}, port=listening) == []
    found = client(tmp_path, exports(listening) | {"ANTHROPIC_CUSTOM_HEADERS": headers}, port=listening)
    assert found == [("client.malformed", "warn")]


def test_the_long_form_of_a_name_is_served_and_its_window_is_not_true(tmp_path: Path, listening: int) -> None:
    long = exports(listening) | {"ANTHROPIC_MODEL": "claude-local[1m]"}
    assert client(tmp_path, long, port=listening) == [("client.stale-values", "warn")]


def test_a_settings_file_with_a_byte_order_mark_is_read(tmp_path: Path, listening: int) -> None:
    file = tmp_path / ".claude" / "settings.json"
    file.parent.mkdir()
    file.write_bytes(b'\xef\xbb\xbf{"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}}')
    assert client(tmp_path, exports(listening), port=listening) == [("client.settings-override", "fail")]


COMPACT = [("client.compact-off", "warn")]


@pytest.mark.parametrize(
    ("file", "content", "shell", "said"),
    [
        (".claude/settings.json", {"autoCompactEnabled": False}, {}, COMPACT),
        (".claude/settings.json", {"autoCompactEnabled": True}, {}, []),
        (".claude/settings.json", {"env": {"DISABLE_COMPACT": "1"}}, {}, COMPACT),
        (".claude/settings.json", {"env": {"DISABLE_AUTO_COMPACT": "0"}}, {"DISABLE_AUTO_COMPACT": "1"}, []),
        (".claude.json", {"autoCompactEnabled": False, "numStartups": 3}, {}, COMPACT),
        (".claude.json", {"autoCompactEnabled": True, "numStartups": 3}, {}, []),
        (".claude.json", {}, {"DISABLE_AUTO_COMPACT": "true"}, COMPACT),
    ],
)
def test_a_small_window_needs_compaction(
    tmp_path: Path, listening: int, file: str, content: dict[str, object], shell: dict[str, str], said: list[object]
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(json.dumps(content))
    assert client(tmp_path, exports(listening) | shell, port=listening) == said
    assert client(tmp_path, shell, port=listening) == []  # it is not this stack that Claude Code would use


@pytest.mark.parametrize(("direnv", "value", "said"), [
    (True, "https://api.anthropic.com", [("client.start-file", "warn")]),
    (True, "http://127.0.0.1:{port}", []),
    (False, "https://api.anthropic.com", []),
])  # fmt: skip
def test_what_direnv_sets_in_this_directory_is_found(
    tmp_path: Path, listening: int, direnv: bool, value: str, said: list[tuple[str, str]]
) -> None:
    (tmp_path / ".envrc").write_text(f"export FOO=1\nexport ANTHROPIC_BASE_URL={value.format(port=listening)}\n")
    if direnv:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / "direnv").write_text("")
        (tmp_path / "bin" / "direnv").chmod(0o755)
    assert client(tmp_path, exports(listening), port=listening) == said


@pytest.mark.parametrize(("path", "said"), [("", []), ("/", []), ("/x", [("client.settings-override", "fail")])])
def test_a_settings_file_that_gives_the_same_address_overrules_nothing(
    tmp_path: Path, listening: int, path: str, said: list[tuple[str, str]]
) -> None:
    file = tmp_path / ".claude" / "settings.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{listening}{path}"}}))
    assert client(tmp_path, exports(listening), port=listening) == said


@pytest.mark.parametrize("broken", ["", "[]", "[" * 100_000, '{"config": 5}'], ids=["empty", "list", "deep", "number"])
def test_a_broken_record_of_the_start_is_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path))
    paths = StackPaths("default")
    os.makedirs(paths.root, mode=0o700)
    files.write_private(paths.ports, broken)
    assert as_started.source(Flags(), paths, {}) == Flags()


def test_the_file_of_the_start_counts_while_it_is_there_and_is_missed_when_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    paths = StackPaths("default")
    os.makedirs(paths.root, mode=0o700)
    file = str(tmp_path / "mine.yaml")
    files.write_private(paths.ports, json.dumps({"config": file}))
    assert (as_started.source(Flags(), paths, {}), as_started.gone(Flags(), paths, {})) == (Flags(), file)
    assert as_started.gone(Flags(config="other.yaml"), paths, {}) == ""
    Path(file).touch()
    assert (as_started.source(Flags(), paths, {}), as_started.gone(Flags(), paths, {})) == (Flags(config=file), "")


def test_a_stack_that_was_started_with_a_named_file_is_looked_at_in_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    paths = StackPaths("default")
    os.makedirs(paths.root, mode=0o700)
    file = tmp_path / "stack.yaml"
    file.write_text("engines: {main: {model: embedded}}")
    files.write_private(paths.ports, json.dumps({"config": str(file)}))
    assert as_started.source(Flags(), paths, {}) == Flags(config=str(file))  # `up -c stack.yaml` was consent
    trust.add(str(file))
    assert as_started.source(Flags(), paths, {}) == Flags()


def test_what_was_chosen_at_the_start_counts_where_nothing_else_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    paths, file = StackPaths("default"), tmp_path / "mine.yaml"
    os.makedirs(paths.root, mode=0o700)
    file.write_text("engines: {main: {port: 8001}}")
    chosen = as_started.chosen(config.load(Flags(str(file), model=str(tmp_path), gateway="direct"), {}))
    assert chosen == {"model": str(tmp_path), "gateway": "direct"}
    files.write_private(paths.ports, json.dumps({"config": str(file), "chosen": chosen}))
    as_it_was = Flags(str(file), model=str(tmp_path), gateway="direct")
    assert as_started.source(Flags(), paths, {}) == as_it_was
    assert as_started.source(Flags(str(file)), paths, {}) == as_it_was
    assert as_started.source(Flags(model="b"), paths, {}) == replace(as_it_was, model="b")
    assert as_started.source(Flags(), paths, {"STACKCTL_MODEL": "b"}) == replace(as_it_was, model=None)
    assert as_started.source(Flags("other.yaml"), paths, {}) == Flags("other.yaml")


def test_looking_that_breaks_is_a_finding_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path))
    monkeypatch.setattr(config, "load", lambda *_: 1 // 0)
    seen = facts.gather(Flags(), static=True, environ={"HOME": str(tmp_path)})
    assert "ZeroDivisionError" in str(seen.load_error)
    assert capsys.readouterr().err == ""


def test_a_settings_file_that_is_none_is_named_and_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / ".claude" / "settings.json"
    file.parent.mkdir()
    file.write_text("[" * 100_000)
    assert client(tmp_path, running=False) == [("client.settings-broken", "warn")]
    file.unlink()
    os.mkfifo(file)
    assert client(tmp_path, running=False) == [("client.settings-broken", "warn")]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"ANTHROPIC_BASE_URL": "http://127.0.0.1:{port}/v1"}, ("client.base-url-v1", "fail")),
        ({"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, ("client.stale-url", "fail")),
        ({"ANTHROPIC_BASE_URL": "https://api.anthropic.com"}, ("client.other-url", "warn")),
        ({"ANTHROPIC_API_KEY": "sk-ant-0123456789"}, ("client.two-keys", "warn")),
        ({"ANTHROPIC_AUTH_TOKEN": ""}, ("client.no-key", "fail")),
        ({"ANTHROPIC_AUTH_TOKEN": "sk-stackctl-wrong-key"}, ("client.stale-key", "fail")),
        ({"CLAUDE_CODE_USE_BEDROCK": "1"}, ("client.switch", "fail")),
        ({"ANTHROPIC_MODEL": "claude-opus-4-8"}, ("client.unknown-model", "fail")),
        ({"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "200000"}, ("client.stale-values", "warn")),
        ({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": ""}, ("client.proxy", "fail")),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost,127.*"}, ("client.proxy", "fail")),
        ({"HTTP_PROXY": "http://proxy:3128", "no_proxy": "corp"}, ("client.proxy", "fail")),
        ({"ANTHROPIC_UNIX_SOCKET": "/tmp/x"}, ("client.switch", "fail")),
        ({"HTTP_PROXY": "proxy:3128"}, ("client.malformed", "fail")),
        ({"API_TIMEOUT_MS": "600"}, ("client.stale-values", "warn")),
        ({"CLAUDECODE": "1"}, ("client.nested", "warn")),
    ],
)
def test_each_wrong_variable_is_named(
    tmp_path: Path, listening: int, more: Mapping[str, str], expected: tuple[str, str]
) -> None:
    given = {name: value.replace("{port}", str(listening)) for name, value in more.items()}
    assert client(tmp_path, {**exports(listening), **given}, port=listening) == [expected]


@pytest.mark.parametrize(
    "more",
    [
        {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "localhost 127.0.0.1"},
        {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.0/8,127.0.0.0/8"},
        {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "127.0.0.1:{port}"},
        {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "localhost", "ANTHROPIC_BASE_URL": "http://localhost:{port}"},
        {"API_TIMEOUT_MS": "3000000", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "4096"},
    ],
)
def test_what_is_unusual_and_works_is_not_named(tmp_path: Path, listening: int, more: Mapping[str, str]) -> None:
    given = {name: value.replace("{port}", str(listening)) for name, value in more.items()}
    helper = tmp_path / ".claude" / "settings.json"
    helper.parent.mkdir()
    helper.write_text(json.dumps({"apiKeyHelper": "/bin/echo sk-x", "env": {"API_TIMEOUT_MS": 3000000}}))
    assert client(tmp_path, {**exports(listening), **given}, port=listening) == []


def written(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


TOKEN, MINE = "ANTHROPIC_AUTH_TOKEN", ".claude/settings.json"


@pytest.mark.parametrize("name", ["settings.json", "settings.local.json"])
def test_a_program_that_came_with_the_project_is_not_run(tmp_path: Path, listening: int, name: str) -> None:
    """A repository that somebody cloned must not get to run its apiKeyHelper by `stackctl doctor`."""
    ran = tmp_path / "ran"
    written(tmp_path / "project" / ".claude" / name, {"apiKeyHelper": f"/usr/bin/touch {ran}"})
    shell = exports(listening)
    del shell[TOKEN]
    assert client(tmp_path, shell, port=listening, static=False) == []
    assert not ran.exists()


@pytest.mark.parametrize(
    ("files", "dropped", "expected"),
    [
        ({MINE: {"ANTHROPIC_BASE_URL": "{url}"}}, "all", [("client.settings-unread", "fail")]),
        ({".claude/setting.json": {"env": {"ANTHROPIC_BASE_URL": "{url}"}}}, "all", [("client.settings-unread", "warn")]),
        ({MINE: {"permissions": {"allow": "Bash"}, "env": {"ANTHROPIC_BASE_URL": "{url}"}}}, "all", [("client.settings-broken", "fail")]),
        ({MINE: {"env": [{"name": "ANTHROPIC_BASE_URL", "value": "{url}"}]}}, "all", [("client.settings-broken", "fail")]),
        ({MINE: {"env": {"ANTHROPIC_BASE_URL": "{url}/v1"}}}, "", [("client.settings-override", "fail")]),
        ({MINE: {"cleanupPeriodDays": "30"}}, "", [("client.settings-broken", "warn")]),
        ({".claude.json": '{"numStartups": 3, "pro'}, "", [("client.state-broken", "fail")]),
        ({".claude.json": {"env": {TOKEN: "sk-x"}}}, "", [("client.settings-override", "fail")]),
        ({MINE: {"env": {"ANTHROPIC_BASE_URL": "{url}", TOKEN: "${KEY}", "ANTHROPIC_MODEL": "claude-local", "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "32768"}}}, "all", [("client.settings-override", "fail")]),
        ({MINE: {"env": {"ANTHROPIC_BASE_URL": "{url}"}}}, "all", [("client.no-key", "fail")]),
        ({MINE: {"model": "qwen3-coder"}}, "ANTHROPIC_MODEL", [("client.unknown-model", "fail")]),
        ({MINE: {"apiKeyHelper": "/nonexistent/helper --print"}}, TOKEN, [("client.key-helper", "fail")]),
        ({}, "ANTHROPIC_MODEL", [("client.unknown-model", "fail")]),
    ],
)  # fmt: skip
def test_what_claude_code_is_told_by_its_files_counts(
    tmp_path: Path, listening: int, files: dict[str, Any], dropped: str, expected: list[tuple[str, str]]
) -> None:
    url = f"http://127.0.0.1:{listening}"
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        written(tmp_path / name, text.replace("{url}", url))
    shell = {} if dropped == "all" else exports(listening)
    shell.pop(dropped, None)
    assert client(tmp_path, shell, port=listening) == expected


def test_settings_alone_are_enough_and_what_is_odd_in_them_is_theirs(tmp_path: Path, listening: int) -> None:
    right = {**exports(listening), "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": 1, "NOTHING": None}
    written(tmp_path / MINE, {"env": right, "futureKey": 1, "hooks": [], "permissions": {"deny": ["WebFetch"]}})
    written(
        tmp_path / ".claude.json",
        {"projects": {"/x": {"mcpServers": {"a": {"env": {"ANTHROPIC_BASE_URL": "http://x"}}}}}},
    )
    written(tmp_path / ".claude" / "settings.json.bak", {"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}})
    assert client(tmp_path, port=listening) == []


def test_of_several_files_the_strongest_counts(tmp_path: Path, listening: int) -> None:
    written(tmp_path / ".claude.json", {"env": {TOKEN: "sk-x"}})
    written(tmp_path / MINE, {"env": {TOKEN: "sk-stackctl-right-key"}})
    assert client(tmp_path, exports(listening), port=listening) == []
    written(tmp_path / "project" / ".claude" / "settings.local.json", {"env": {TOKEN: "sk-y"}})
    assert client(tmp_path, exports(listening), port=listening) == [("client.settings-override", "fail")]
    written(tmp_path / "project" / ".claude" / "settings.local.json", {"env": {TOKEN: "sk-y"}, "statusLine": None})
    assert client(tmp_path, exports(listening), port=listening) == [("client.settings-broken", "warn")]


def test_a_tier_by_its_short_name_is_what_the_shell_maps_it_to(tmp_path: Path, listening: int) -> None:
    shell = {**exports(listening), "ANTHROPIC_DEFAULT_OPUS_MODEL": "claude-local", "ANTHROPIC_MODEL": ""}
    written(tmp_path / MINE, {"model": "best"})
    assert client(tmp_path, shell, port=listening) == []
    for model in ("opus", ""):  # asked for in its long form
        written(tmp_path / MINE, {"model": model})
        assert client(tmp_path, shell, port=listening) == [("client.stale-values", "warn")]
    del shell["ANTHROPIC_DEFAULT_OPUS_MODEL"]
    assert client(tmp_path, shell, port=listening) == [("client.unknown-model", "fail")]


def test_a_key_that_claude_code_was_told_not_to_use_is_named(tmp_path: Path, listening: int) -> None:
    shell = exports(listening)
    shell["ANTHROPIC_API_KEY"] = shell.pop(TOKEN)
    assert client(tmp_path, shell, port=listening) == []
    answers = {"approved": [], "rejected": [shell["ANTHROPIC_API_KEY"][-20:]]}
    written(tmp_path / ".claude.json", {"customApiKeyResponses": answers})
    assert client(tmp_path, shell, port=listening) == [("client.key-refused", "warn")]


@pytest.mark.parametrize(("command", "expected"), [("echo sk-stackctl-right-key", []), ("echo sk-x", ["client.key-helper"]), ("exit 3", ["client.key-helper"])])  # fmt: skip
def test_a_program_that_gives_the_key_is_asked_as_claude_code_asks_it(
    tmp_path: Path, listening: int, command: str, expected: list[str]
) -> None:
    shell = exports(listening)
    del shell[TOKEN]
    written(tmp_path / MINE, {"apiKeyHelper": command})
    (tmp_path / "project").mkdir()
    found = client(tmp_path, {**shell, "PATH": "/bin"}, port=listening, static=False)
    assert [name for name, _ in found] == expected


@pytest.mark.parametrize("path", ["/anthropic", "/v1/messages", "/v1/"])
def test_a_path_after_the_stacks_address_is_named(tmp_path: Path, listening: int, path: str) -> None:
    shell = exports(listening)
    shell["ANTHROPIC_BASE_URL"] += path
    assert client(tmp_path, shell, port=listening) == [("client.base-url-v1", "fail")]


@pytest.mark.parametrize(("key", "status"), [("sk-stackctl-of-the-other", "warn"), ("sk-stackctl-right-key", "fail")])
def test_the_address_of_another_stack_is_said_to_be_that_stacks(
    tmp_path: Path, listening: int, monkeypatch: pytest.MonkeyPatch, key: str, status: str
) -> None:
    root = tmp_path / "elsewhere" / "stacks" / "b"
    root.mkdir(parents=True)
    (root / "client.key").write_text("sk-stackctl-of-the-other\n")
    monkeypatch.setattr(neighbour, "at", lambda *_: neighbour.Neighbour(str(root)))
    shell = {**exports(listening), TOKEN: key}
    for running in (True, False):
        found = client(tmp_path, shell, port=1, running=running)
        assert found == [("client.other-stack", status)]
    assert neighbour.Neighbour(str(root)).command("env") == f"STACKCTL_HOME={tmp_path}/elsewhere stackctl env --name b"


def test_who_listens_is_known_by_the_mark_of_its_run(tmp_path: Path, listening: int) -> None:
    assert neighbour.at(listening) is None
    program = "import socket,sys; s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True); sys.stdin.read()"
    mark = {"STACKCTL_RUN": f"0123-1@{tmp_path}/stacks/b"}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=mark, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        found = neighbour.at(int(other.stdout.readline()))
        assert found is not None
        assert (found.name, found.home) == ("b", str(tmp_path))
        other.communicate()


def test_settings_and_start_files_are_named_and_no_key_is_shown(tmp_path: Path, listening: int) -> None:
    (tmp_path / ".claude").mkdir()
    settings = tmp_path / ".claude" / "settings.json"
    settings.write_text(json.dumps({"env": {"ANTHROPIC_AUTH_TOKEN": "sk-canary-0123456789"}}))
    (tmp_path / ".bashrc").write_text("export ANTHROPIC_BASE_URL=http://127.0.0.1:9\n")
    assert client(tmp_path, exports(listening), port=listening) == [
        ("client.settings-override", "fail"),
        ("client.start-file", "warn"),
    ]
    settings.write_text("{")
    assert ("client.settings-broken", "warn") in client(tmp_path, port=listening)


def test_a_program_of_nodes_without_node_is_named(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "claude"
    program.write_text("#!/usr/bin/env node\n")
    program.chmod(0o755)
    assert client(tmp_path, running=False) == [("client.no-node", "fail")]


# --- a model's files


def tensors(path: Path, *, cut: int = 0, shapes: dict[str, list[int]] | None = None) -> None:
    rows = {
        name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 128]}
        for name, shape in (shapes or {"a": [64]}).items()
    }
    header = json.dumps(rows).encode()
    path.write_bytes((struct.pack("<Q", len(header)) + header + bytes(128))[: -cut or None])


def checkpoint(directory: Path) -> None:
    directory.mkdir()
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "max_position_embeddings": 40960}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text("{}")
    template = "{% if tools %}<tool_call>{{ tools }} arguments{% endif %}{{ messages }}"
    (directory / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    tensors(directory / "model.safetensors")


def model(tmp_path: Path, **engine: Any) -> list[str]:
    file = tmp_path / "stack.yaml"
    text = {
        "engines": {"main": {"model": str(tmp_path / "model"), "port": 18123, **engine}},
        "gateway": {"port": 18124},
    }
    file.write_text(json.dumps(text))
    seen = facts.gather(Flags(config=str(file)), static=True, environ={"HOME": str(tmp_path)})
    assert seen.prepared is not None, (seen.load_error, seen.prepare_error)
    return [each.id for each in bad(modelfiles.CHECKS, seen) if each.id != "machine.memory"]


WORDS, LAYERS = "model.embed_tokens.weight", {f"model.layers.{n}.mlp.up_proj.weight": [1] for n in range(2)}


@pytest.mark.parametrize(
    ("sizes", "shapes", "said"),
    [
        ({"hidden_size": 64, "vocab_size": 100, "num_hidden_layers": 2}, {WORDS: [100, 64], **LAYERS}, 0),
        ({"hidden_size": 64, "vocab_size": 100, "num_hidden_layers": 1}, {WORDS: [128, 64], **LAYERS}, 0),
        ({"text_config": {"hidden_size": 64, "vocab_size": 100}}, {f"language_{WORDS}": [1, 1], WORDS: [100, 64]}, 0),
        ({"hidden_size": 64, "word_embed_proj_dim": 32}, {WORDS: [100, 32]}, 0),
        ({"num_hidden_layers": 2}, {"vision_tower.layers.0.weight": [1]}, 0),
        ({"hidden_size": 96}, {WORDS: [100, 64]}, 1),
        ({"text_config": {"hidden_size": 96}}, {f"model.language_{WORDS}": [100, 64]}, 1),
        ({"hidden_size": 64, "vocab_size": 200}, {WORDS: [100, 64]}, 1),
        ({"hidden_size": 64, "vocab_size": 50}, {WORDS: [100, 64]}, 1),
        ({"num_hidden_layers": 3}, LAYERS, 1),
    ],
)
def test_a_configuration_of_another_model_than_the_weights_is_named(
    tmp_path: Path, sizes: dict[str, Any], shapes: dict[str, list[int]], said: int
) -> None:
    checkpoint(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | sizes))
    tensors(tmp_path / "model" / "model.safetensors", shapes=shapes)
    assert model(tmp_path).count("model.foreign-config") == said


def test_a_precision_without_kernels_here_is_one_finding_and_no_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    checkpoint(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    sizes = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    method = {"quant_method": "mxfp4"}
    config.write_text(json.dumps(json.loads(config.read_text()) | sizes | {"quantization_config": method}))
    file = tmp_path / "stack.yaml"
    ports = {
        "engines": {"main": {"model": str(tmp_path / "model"), "port": free_port()}},
        "gateway": {"port": free_port()},
    }
    file.write_text(json.dumps(ports))
    seen = facts.gather(Flags(config=str(file)), static=True, environ={"HOME": str(tmp_path)})
    found = bad((*machine.CHECKS, *modelfiles.CHECKS), seen)
    assert [each.id for each in found if each.hop in {"model files", "machine"}] == ["model.quantisation"]


def test_a_whole_checkpoint_is_fine(tmp_path: Path) -> None:
    checkpoint(tmp_path / "model")
    assert model(tmp_path) == []


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda at: tensors(at / "model.safetensors", cut=10), "model.damaged"),
        (lambda at: (at / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"), "model.damaged"),
        (lambda at: (at / "model.safetensors.index.json").write_text('{"weight_map": {"a": "gone.safetensors"}}'), "model.damaged"),
        (lambda at: (at / "model.safetensors").unlink(), "model.incomplete"),
        (lambda at: (at / "tokenizer.json").unlink(), "model.incomplete"),
        (lambda at: (at / "config.json").write_text("{"), "model.incomplete"),
        (lambda at: (at / "tokenizer_config.json").unlink(), "model.template"),
        (lambda at: (at / "chat_template.jinja").write_text("{% for a in"), "model.template-spoilt"),
        (lambda at: (at / "chat_template.jinja").write_text("{{ messages }}"), "model.no-tools"),
        (lambda at: (at / "chat_template.jinja").write_text("{# tools #}{{ messages }}"), "model.no-tools"),
        (lambda at: (at / "chat_template.jinja").write_text("\n"), "model.template"),
        (lambda at: (at / "adapter_config.json").write_text(str((at / "config.json").unlink() or "{}")), "model.incomplete"),
    ],
)  # fmt: skip
def test_each_damage_to_a_checkpoint_is_named_once(tmp_path: Path, spoil: Any, expected: str) -> None:
    checkpoint(tmp_path / "model")
    spoil(tmp_path / "model")
    assert model(tmp_path) == [expected]


POOLING = json.dumps(
    [{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Pooling"}]
)


@pytest.mark.parametrize(
    ("changes", "beside", "expected"),
    [
        ({"architectures": ["Qwen2ForSequenceClassification"]}, {}, "model.not-generative"),
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, {}, "model.not-generative"),
        ({}, {"modules.json": POOLING}, "model.not-generative"),
        ({"architectures": []}, {}, "model.no-kind"),
        ({"architectures": "Qwen3ForCausalLM"}, {}, "model.no-kind"),
    ],
)
def test_a_model_that_does_not_chat_is_named_by_its_own_files(
    tmp_path: Path, changes: Mapping[str, Any], beside: Mapping[str, str], expected: str
) -> None:
    checkpoint(tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    for name, text in beside.items():
        (tmp_path / "model" / name).write_text(text)
    assert model(tmp_path) == [expected]
    if expected == "model.not-generative":
        assert model(tmp_path, args={"runner": "generate"}) == []


@pytest.mark.parametrize("changes", [{"is_encoder_decoder": False}, {"is_encoder_decoder": None}])
def test_a_model_that_chats_is_not_taken_for_another(tmp_path: Path, changes: Mapping[str, Any]) -> None:
    checkpoint(tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    (tmp_path / "model" / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer"}]')
    assert model(tmp_path) == []


def test_a_parser_of_another_family_is_the_verdict(tmp_path: Path) -> None:
    checkpoint(tmp_path / "model")
    assert model(tmp_path, args={"tool-call-parser": "hermes"}) == []
    assert model(tmp_path, args={"tool-call-parser": "mistral"}) == ["configuration.parser-other"]


# --- stack.yaml and the machine


def stack(tmp_path: Path, text: str, **environ: str) -> list[str]:
    file = tmp_path / "given.yaml"
    file.write_text(text)
    seen = facts.gather(Flags(config=str(file)), static=True, environ={"HOME": str(tmp_path), **environ})
    return [each.id for each in bad(configuration.CHECKS, seen)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("engines: {main: {modell: x}}", ["configuration.unusable"]),
        ("gateway: [", ["configuration.unusable"]),
        ("engines: {main: {url: 'http://127.0.0.1:9', api_key: env/NOT_SET, model: x}}", ["configuration.missing-variable"]),
        ("engines: {main: {model: embedded, max_model_len: 32768}}\ngateway: {request_timeout: 20}", ["configuration.timeout-short"]),
        ("engines: {main: {model: /nowhere, command: [x], max_model_len: 4096}}", ["configuration.window-small"]),
        ("engines: {main: {model: embedded}}", []),
    ],
)  # fmt: skip
def test_each_fault_of_the_configuration_is_named(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert stack(tmp_path, text) == expected


def test_a_stack_yaml_of_the_working_directory_must_be_trusted(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text("engines: {main: {model: embedded}}")
    seen = facts.gather(Flags(), static=True, environ={"HOME": str(tmp_path)})
    assert [each.id for each in bad(configuration.CHECKS, seen)] == ["configuration.untrusted"]


def test_a_held_port_is_the_machines(tmp_path: Path, listening: int) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(json.dumps({"engines": {"main": {"model": "x", "command": ["x"], "port": listening}}}))
    seen = facts.gather(Flags(config=str(file)), static=True, environ={"HOME": str(tmp_path)})
    ports = [each for each in machine.CHECKS if each.id == "machine.ports"]
    found = [each for each in bad(ports, seen) if str(listening) in each.cause]
    assert [each.id for each in found] == ["machine.port-held"]
    assert str(os.getpid()) in found[0].cause


def test_what_an_earlier_start_failed_for_waits_until_the_next_one_can_begin(
    tmp_path: Path, listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    paths = StackPaths("default")
    os.makedirs(paths.logs, mode=0o700)
    shutil.copy(Path(__file__).parent / "logs" / "engine-kvsmall.log", paths.log("engine"))
    file = tmp_path / "given.yaml"

    def failed(port: int) -> list[str]:
        config = {"engines": {"main": {"model": "x", "command": ["x"], "port": port}}, "gateway": {"port": free_port()}}
        file.write_text(json.dumps(config))
        seen = facts.gather(Flags(config=str(file)), static=True, environ={"HOME": str(tmp_path)})
        found = runner.run(roster.checks(seen), seen, budget=60)
        return [each.id for each in found if each.status is Status.FAIL and each.hop in {"machine", "engine"}]

    assert failed(listening) == ["machine.port-held"]
    assert failed(free_port()) == ["log.kv-too-small"]


def test_gathering_writes_nothing(tmp_path: Path) -> None:
    before = sorted(map(str, tmp_path.rglob("*")))
    facts.gather(Flags(), static=True, environ={"HOME": str(tmp_path)})
    assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_a_configuration_of_another_name_is_named_and_dockers_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)

    def found() -> list[str]:
        seen = facts.gather(Flags(), static=True, environ={"HOME": str(tmp_path)})
        return [each.id for each in bad(configuration.CHECKS, seen)]

    (tmp_path / "stack.yml").write_text("services:\n  web: {image: x}\n")
    assert found() == []
    (tmp_path / "stack.yml").write_text("engines: {main: {model: embedded}}\n")
    assert found() == ["configuration.misnamed"]
    (tmp_path / "stack.yml").rename(tmp_path / "stack.yaml")
    assert found() == ["configuration.untrusted"]


def test_a_file_that_the_variable_names_and_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_CONFIG", "~/stack.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="there is no configuration file") as refused:
        config.load(Flags())
    assert refused.value.remedy.startswith("correct $STACKCTL_CONFIG, or unset it (there, ~ is not")
