"""What stands in the way is named: which file, which variable, which value wins; and nothing that is harmless."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from stackctl import clients
from stackctl.clients import (
    claude,
    claude_conflicts,
    claude_names,
    claude_settings,
    claude_start,
    conflicts,
    opencode,
    proxy,
)

if TYPE_CHECKING:
    from pathlib import Path

FACTS = {"url": "http://127.0.0.1:4000", "model": "claude-local", "served": "m", "window": 32768, "output_limit": 1024}
OURS = claude.environment(FACTS, "sk-ours", {})


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "user"
    (home / ".claude").mkdir(parents=True)
    (tmp_path / "work" / ".claude").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(claude_settings, "_MANAGED", (str(tmp_path / "managed"),))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    return home


def settings(path: Path, **env: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"env": env}))


def said(user: Path) -> list[str]:
    found = claude_conflicts.in_settings(OURS, {"HOME": str(user)}, str(user.parent / "work"))
    return [f"{each.where.removeprefix(str(user.parent))} {each.what}" for each in found]


def test_every_kind_of_settings_file_is_looked_at_and_only_managed_ones_beat_launch(user: Path) -> None:
    work = user.parent / "work" / ".claude"
    settings(user / ".claude" / "settings.json", ANTHROPIC_BASE_URL="https://a.example")
    settings(work / "settings.json", ANTHROPIC_MODEL="opus")
    settings(work / "settings.local.json", CLAUDE_CODE_USE_BEDROCK="1")
    settings(user.parent / "managed" / "managed-settings.json", ANTHROPIC_AUTH_TOKEN="sk-boss")
    settings(user.parent / "managed" / "managed-settings.d" / "10-x.json", CLAUDE_CODE_MAX_CONTEXT_TOKENS=5)
    assert said(user) == [
        "/user/.claude/settings.json sets ANTHROPIC_BASE_URL to https://a.example",
        "/work/.claude/settings.json sets ANTHROPIC_MODEL to opus (a real Claude id, which hides the true window)",
        "/work/.claude/settings.local.json sets CLAUDE_CODE_USE_BEDROCK to 1",
        "/managed/managed-settings.json sets ANTHROPIC_AUTH_TOKEN",
        "/managed/managed-settings.d/10-x.json sets CLAUDE_CODE_MAX_CONTEXT_TOKENS to 5",
    ]
    found = claude_conflicts.in_settings(OURS, {"HOME": str(user)}, str(user.parent / "work"))
    assert [each.beats_launch for each in found] == [False, False, False, True, True]


def test_what_says_the_same_or_is_off_is_no_conflict(user: Path) -> None:
    settings(
        user / ".claude" / "settings.json",
        ANTHROPIC_BASE_URL=OURS["ANTHROPIC_BASE_URL"], CLAUDE_CODE_USE_BEDROCK="0", NO_PROXY="127.0.0.1,corp", MINE="x",
    )  # fmt: skip
    assert said(user) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"env": []}', '{"env": null}', '"env"', '{"env": {"A": {}}}'])
def test_a_file_that_makes_no_sense_is_claude_codes_to_complain_about(user: Path, text: str) -> None:
    (user / ".claude" / "settings.json").write_text(text)
    assert said(user) == []


def test_a_value_that_may_be_a_secret_is_not_shown(user: Path) -> None:
    settings(
        user / ".claude" / "settings.json",
        ANTHROPIC_API_KEY="sk-1", ANTHROPIC_BASE_URL="https://me:pass@a.example", ANTHROPIC_MODEL="a\x1b[2Jb",
    )  # fmt: skip
    assert all(each.endswith(("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL")) for each in said(user))
    assert len(said(user)) == 3


def test_the_config_directory_can_be_elsewhere(user: Path) -> None:
    settings(user.parent / "own" / "settings.json", ANTHROPIC_MODEL="opus")
    found = claude_conflicts.in_settings(OURS, {"HOME": str(user), "CLAUDE_CONFIG_DIR": str(user.parent / "own")}, "/")
    assert [each.where for each in found] == [str(user.parent / "own" / "settings.json")]


def test_launch_takes_away_what_a_settings_file_adds_and_keeps_its_proxy_exceptions(user: Path) -> None:
    settings(user / ".claude" / "settings.json", ANTHROPIC_API_KEY="sk-1", CLAUDE_CODE_USE_VERTEX="1", NO_PROXY="corp")
    made = claude_start.start(FACTS, OURS, [], "/private")
    (content,) = made.files.values()
    env = json.loads(content)["env"]
    assert (env["ANTHROPIC_API_KEY"], env["CLAUDE_CODE_USE_VERTEX"]) == ("", "")
    assert env["NO_PROXY"] == env["no_proxy"] == "127.0.0.1,localhost,::1,corp"
    assert "CLAUDE_CODE_USE_BEDROCK" not in env


def test_the_shells_own_variables(user: Path) -> None:
    found = claude_conflicts.in_environment({"ANTHROPIC_API_KEY": "sk-1", "CLAUDE_CODE_USE_FOUNDRY": "true", "ALL_PROXY": "socks5://x"})  # fmt: skip
    assert [each.what.split(",")[0] for each in found] == ["sets ANTHROPIC_API_KEY", "sets CLAUDE_CODE_USE_FOUNDRY", "sets ALL_PROXY"]  # fmt: skip
    assert claude_conflicts.in_environment({"CLAUDE_CODE_USE_VERTEX": "0", "ANTHROPIC_API_KEY": ""}) == []


@pytest.mark.parametrize(
    "value",
    ["127.0.0.1", "*", "corp, 127.0.0.1", "localhost 127.0.0.1", "127.0.0.0/8", "10.0.0.0/8,127.0.0.0/16", "127.0.0.1:4000"],
)  # fmt: skip
def test_a_proxy_that_is_told_of_loopback_is_no_conflict(value: str) -> None:
    assert proxy.in_the_way({"HTTP_PROXY": "http://p", "no_proxy": value}, port=4000) == ""


@pytest.mark.parametrize(
    "value", ["", "corp", "localhost", "127.*", ".0.0.1", "127.0.0.1:1", "10.0.0.0/8", "::1", "[::1]:4000"]
)
def test_an_exception_that_claude_code_does_not_take_for_loopback_is_none(value: str) -> None:
    """Tried with 2.1.330, as is each of the proxies' variables."""
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        assert proxy.in_the_way({name: "http://p", "NO_PROXY": value}, port=4000) == name
    assert proxy.in_the_way({"HTTP_PROXY": "http://p", "NO_PROXY": value, "no_proxy": "127.0.0.1"}) == ""
    assert proxy.in_the_way({"HTTP_PROXY": "http://p", "NO_PROXY": "127.0.0.1", "no_proxy": value or "x"}, port=4000)


def test_an_exception_is_for_the_name_that_is_asked_for() -> None:
    one = {"HTTP_PROXY": "http://p", "NO_PROXY": "localhost,.lan"}
    assert [proxy.in_the_way(one, host) for host in ("localhost", "box.lan", "127.0.0.1")] == ["", "", "HTTP_PROXY"]


@pytest.mark.parametrize(
    ("name", "value", "wanted", "harm"),
    [
        ("API_TIMEOUT_MS", "600", "600000", "gives a request up after 0.6 s"),
        ("API_TIMEOUT_MS", "10m", "600000", "takes it as 10"),
        ("API_TIMEOUT_MS", "3000000", "600000", ""),
        ("API_TIMEOUT_MS", "", "600000", ""),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "32k", "8192", "takes it as 32"),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "64000", "8192", "8,192 are allowed"),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "4096", "8192", ""),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "512", "8192", "cuts long answers off"),
        ("CLAUDE_CODE_MAX_CONTEXT_TOKENS", "200000", "32768", "a window of 200,000 tokens"),
        ("CLAUDE_CODE_MAX_CONTEXT_TOKENS", "30000", "32768", ""),
    ],
)
def test_a_limit_is_named_for_the_harm_that_it_does(name: str, value: str, wanted: str, harm: str) -> None:
    found = claude_names.unfit(name, value, wanted)
    assert harm in found if harm else found == ""


def elsewhere(user: Path, **environ: str) -> list[str]:
    found = claude_conflicts.elsewhere(OURS, {"HOME": str(user), **environ}, str(user.parent / "work"))
    return [f"{each.where.removeprefix(str(user.parent))} {each.what}" for each in found]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (".bashrc", "export ANTHROPIC_BASE_URL=http://127.0.0.1:9999"),
        (".zshrc", '  export ANTHROPIC_BASE_URL="https://a.example";'),
        (".config/fish/config.fish", "set -gx ANTHROPIC_BASE_URL http://a.example"),
    ],
)
def test_a_stale_address_in_a_start_up_file(user: Path, name: str, line: str) -> None:
    (user / name).parent.mkdir(parents=True, exist_ok=True)
    (user / name).write_text(f"# mine\n{line}\n")
    assert elsewhere(user) == [f"/user/{name} line 2 sets ANTHROPIC_BASE_URL to another address: new shells start with it"]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("alias claude='ANTHROPIC_BASE_URL=https://api.example/anthropic claude'", "sets ANTHROPIC_BASE_URL to another address for the alias `claude`"),
        ("export A=1 ANTHROPIC_BASE_URL=http://x; export B=2", "sets ANTHROPIC_BASE_URL to another address: new shells start with it"),
        ("  declare -x ANTHROPIC_BASE_URL='http://x'", "sets ANTHROPIC_BASE_URL to another address: new shells start with it"),
        (f"ANTHROPIC_BASE_URL={OURS['ANTHROPIC_BASE_URL']}", "assigns ANTHROPIC_BASE_URL without `export`: Claude Code does not get it"),
    ],
)  # fmt: skip
def test_what_a_line_of_a_start_up_file_does_is_said(user: Path, line: str, what: str) -> None:
    (user / ".zshrc").write_text(line + "\n")
    assert elsewhere(user) == [f"/user/.zshrc line 1 {what}"]


@pytest.mark.parametrize(
    "lines",
    [
        "alias glm='ANTHROPIC_BASE_URL=https://api.example/anthropic claude'",
        'glm() {\n  ANTHROPIC_BASE_URL=https://api.example ANTHROPIC_MODEL=glm claude "$@"\n}',
        "export ANTHROPIC_BASE_URL=$LOCAL_LLM",
        'export ANTHROPIC_BASE_URL="${ANTHROPIC_BASE_URL:-http://x}"',
        "[ $ANTHROPIC_BASE_URL = x ] && echo yes",
        f"ANTHROPIC_BASE_URL={OURS['ANTHROPIC_BASE_URL']}\nexport ANTHROPIC_BASE_URL",
        f"set -a\nANTHROPIC_BASE_URL={OURS['ANTHROPIC_BASE_URL']}",
        f"export ANTHROPIC_BASE_URL={OURS['ANTHROPIC_BASE_URL']}/",
    ],
)
def test_what_a_start_up_file_does_for_other_commands_is_its_owners(user: Path, lines: str) -> None:
    (user / ".bashrc").write_text(lines + "\n")
    assert elsewhere(user) == []


def test_an_editor_that_has_the_stacks_own_values_is_fine(user: Path) -> None:
    file = user / ".config" / "Code" / "User" / "settings.json"
    file.parent.mkdir(parents=True)
    right = [{"name": name, "value": value} for name, value in OURS.items()]
    file.write_text(json.dumps({"claudeCode.environmentVariables": right}))
    assert elsewhere(user) == []


@pytest.mark.parametrize("line", ["# export ANTHROPIC_BASE_URL=http://x", 'eval "$(stackctl env)" # ANTHROPIC_BASE_URL', "unset ANTHROPIC_BASE_URL", f"export ANTHROPIC_BASE_URL={OURS['ANTHROPIC_BASE_URL']}", "echo $ANTHROPIC_BASE_URLS"])  # fmt: skip
def test_lines_that_do_no_harm(user: Path, line: str) -> None:
    (user / ".bashrc").write_text(line + "\n")
    assert elsewhere(user) == []


def test_an_editors_own_variables_are_read_through_comments(user: Path) -> None:
    file = user / ".config" / "Code" / "User" / "settings.json"
    file.parent.mkdir(parents=True)
    file.write_text("""{ // mine
      "claudeCode.environmentVariables": [ {"name": "ANTHROPIC_BASE_URL", "value": "http://x"}, {"name": "FOO", "value": "ANTHROPIC"}, ],
      "other": "ANTHROPIC_MODEL", }""")
    (found,) = elsewhere(user)
    assert found.startswith("/user/.config/Code/User/settings.json claudeCode.environmentVariables sets ANTHROPIC_BASE_URL: ")  # fmt: skip


def test_a_stored_login_and_a_claude_code_around_this_one(user: Path) -> None:
    (user / ".claude" / ".credentials.json").write_text('{"token": "secret"}')
    first, second = elsewhere(user, CLAUDECODE="1")
    assert ".credentials.json holds a stored login" in first
    assert "secret" not in first
    assert "inside another Claude Code" in second


def test_a_program_of_the_windows_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = {"WSL_DISTRO_NAME": "Ubuntu"}
    assert conflicts.wsl_program("/mnt/c/Users/me/AppData/Roaming/npm/claude", inside)
    assert not conflicts.wsl_program("/usr/local/bin/claude", inside)
    assert not conflicts.wsl_program("/mnt/data/bin/claude", {})  # a plain Linux machine with a disk under /mnt


def test_a_helper_for_keys_and_a_list_of_allowed_models_are_named(user: Path) -> None:
    (user / ".claude" / "settings.json").write_text(json.dumps({"apiKeyHelper": "/bin/x", "availableModels": ["opus"]}))
    assert said(user) == [
        "/user/.claude/settings.json names an apiKeyHelper; its key is not used while the token is set",
        "/user/.claude/settings.json allows a list of models (availableModels) that claude-local is not in",
    ]


@pytest.mark.parametrize("model", ["claude-opus-4-8", "claude-3-5-sonnet-20241022", "anthropic/claude-haiku-4-5", "opus", "Claude-Sonnet-5"])  # fmt: skip
def test_a_real_claude_id_is_known(model: str) -> None:
    assert claude.is_real(model)


@pytest.mark.parametrize(
    "model", ["claude-local", "anthropic-local", "claude-local-opus", "Qwen/Qwen3-Coder", "my-opus"]
)
def test_a_name_of_ours_is_no_real_id(model: str) -> None:
    assert not claude.is_real(model)


# --- the other clients


def lines(client: str, user: Path, **environ: str) -> list[str]:
    made = clients.get(client)
    assert made.conflicts is not None
    found = made.conflicts({}, {"HOME": str(user), **environ}, str(user.parent / "work"))
    return [f"{each.where.removeprefix(str(user.parent))} {each.what}" for each in found]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_codexs_files_say_is_named(user: Path) -> None:
    write(user / ".codex" / "config.toml", 'model = "gpt-5"\nmodel_provider = "other"\n[tui]\nx = 1\n')
    write(user.parent / "work" / ".codex" / "config.toml", "model = ")
    write(user.parent / "own" / "config.toml", "model_context_window = 5\n")
    assert lines("codex", user) == ['/user/.codex/config.toml sets model to "gpt-5", model_provider to "other"']
    assert lines("codex", user, CODEX_HOME=str(user.parent / "own")) == [
        "/own/config.toml sets model_context_window to 5"
    ]


def test_what_qwens_files_say_is_named(user: Path) -> None:
    write(
        user / ".qwen" / "settings.json",
        '{"security": {"auth": {"selectedType": "anthropic"}}, "model": {"name": "x"}}',
    )
    write(user.parent / "work" / ".qwen" / "settings.json", '{"modelProviders": {"openai": []}, "theme": "dark"}')
    assert lines("qwen", user) == [
        "/user/.qwen/settings.json sets the login to anthropic, the model to x: the stack's value wins here",
        "/work/.qwen/settings.json sets modelProviders: the stack's value wins here",
    ]


def test_opencode_offers_every_route_and_does_small_work_by_the_one_for_it() -> None:
    routes = [
        {"name": "haiku", "model": "claude-local-haiku", "served": "acme/small", "engine": "attic", "window": 8192,
         "output_limit": 2048, "vision": False, "problem": ""},
        {"name": "sonnet", "model": "claude-local-sonnet", "served": FACTS["served"], "engine": "loft", "window": None,
         "output_limit": 8192, "vision": None, "problem": ""},
        {"name": "opus", "model": "claude-local-opus", "served": "anthropic/x", "engine": "", "window": None,
         "output_limit": None, "vision": None, "problem": ""},
    ]  # fmt: skip
    made = opencode.config({**FACTS, "routes": routes})
    models = made["provider"]["stackctl"]["models"]
    assert list(models) == [FACTS["served"], "acme/small", "claude-local-sonnet", "claude-local-opus"]
    assert models["acme/small"]["limit"] == {"context": 8192, "output": 2048}
    assert models["acme/small"]["modalities"]["input"] == ["text"]
    assert models["claude-local-opus"]["name"] == "anthropic/x hosted (opus)"
    assert made["model"] == f"stackctl/{FACTS['served']}"
    assert made["small_model"] == "stackctl/acme/small"


def test_what_opencodes_files_say_is_named_and_overridden(user: Path) -> None:
    write(
        user / ".config" / "opencode" / "opencode.jsonc",
        '{ // mine\n "model": "other//x", "agent": {"plan": {"model": "other/y"}, "z": {}},}',
    )
    write(
        user.parent / "work" / "opencode.json",
        '{"enabled_providers": ["other"], "disabled_providers": ["stackctl", "z"]}',
    )
    write(user / ".config" / "opencode" / "agents" / "review.md", "---\nmodel: other/z\n---\nReview.\n")
    assert lines("opencode", user) == [
        "/user/.config/opencode/opencode.jsonc sets model to other//x, agent.plan.model to other/y: the stack's value wins here",
        "/work/opencode.json sets enabled_providers, disabled_providers: the stack's value wins here",
        "/user/.config/opencode/agents/review.md sets agent.review.model to other/z: the stack's value wins here",
    ]  # fmt: skip
    made = opencode.environment(FACTS, "k", {"HOME": str(user), opencode.CONFIG: '{"agent": {"mine": {"model": "q"}}}'})
    config = json.loads(made[opencode.CONFIG])
    assert config["agent"] == {name: {"model": "stackctl/m"} for name in ("mine", "plan", "review")}
    assert config["enabled_providers"] == ["other", "stackctl"]
    assert config["disabled_providers"] == ["z"]


@pytest.mark.parametrize("client", ["codex", "opencode", "qwen"])
def test_openais_own_variables_and_a_proxy_are_named_and_no_key_is(user: Path, client: str) -> None:
    assert lines(client, user) == []
    found = lines(client, user, OPENAI_API_KEY="sk-secret", OPENAI_BASE_URL="http://x", HTTP_PROXY="http://p")
    assert [each.split(",")[0] for each in found] == ["your environment sets HTTP_PROXY", "your environment sets OPENAI_BASE_URL"]  # fmt: skip
    assert "sk-secret" not in "".join(found)
