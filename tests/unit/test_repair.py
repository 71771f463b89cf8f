"""A repair is first a plan, changes nothing until it is applied, and can be undone."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from stackctl import config, repair, trust
from stackctl.catalog import symptoms
from stackctl.checks import answers
from stackctl.checks.facts import Facts
from stackctl.config import Flags
from stackctl.errors import StackError
from stackctl.model import Finding, Status
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG = "engines:\n  main:\n    model: some/model  # mine\ngateway: {port: 4000}\n"
HAND = """\
model_list:
  - model_name: claude-local   # what Claude Code asks for
    litellm_params: {model: openai/qwen3, api_base: http://127.0.0.1:8000/v1}
  - model_name: other
    litellm_params: {model: openai/other, api_base: http://127.0.0.1:8001/v1}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def facts(home: Path, *, config: Path | None = None, hand: Path | None = None) -> Facts:
    return Facts({}, str(home), str(home), Flags(config=str(config) if config else None), True, hand_file=str(hand) if hand else None)  # fmt: skip


def finding(fix: str, cause: str = "it is broken") -> Finding:
    return Finding("some.thing", Status.FAIL, cause, fix=fix)


def nothing(words: Sequence[str]) -> None:
    raise AssertionError(f"nothing was to be run: {words}")


def test_a_value_of_the_configuration_is_set_and_put_back(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    change = repair.propose(facts(home, config=file), finding("stack.set engines.main.args.tool-call-parser qwen3_xml"))
    assert change is not None
    assert file.read_text() == CONFIG  # only a plan
    assert "+    args:" in repair.shown(change)
    applied = repair.apply(change, nothing)
    assert file.read_text() == CONFIG.replace("# mine\n", "# mine\n    args:\n      tool-call-parser: qwen3_xml\n")
    ((path, copy),) = applied.backups
    assert path == str(file)
    assert Path(copy).read_text() == CONFIG
    applied.undo()
    assert file.read_text() == CONFIG
    assert sorted(each.name for each in home.iterdir()) == ["mine.yaml"]


@pytest.mark.parametrize("text", ["", "# mine\n", "gateway: {port: 4000}\n"])
def test_an_engine_that_stood_nowhere_is_written_with_its_model(home: Path, text: str) -> None:
    file = home / "mine.yaml"
    file.write_text(text)
    known = facts(home, config=file)
    known = replace(known, loaded=config.load(known.flags, {}))
    change = repair.propose(known, finding("stack.set engines.main.port 8123"))
    assert change is not None
    repair.apply(change, nothing)
    assert config.load(known.flags, {}).engine.port == 8123
    assert file.read_text().startswith(text)


def test_a_flag_that_is_spelled_as_on_a_command_line_or_in_python_is_renamed(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text("engines: {main: {model: embedded, args: {--max_num_seqs: 4}}}\n")
    with pytest.raises(StackError) as refused:
        config.load(Flags(str(file)), {})
    said = replace(finding("stack.corrected", refused.value.message), remedy=refused.value.remedy)
    change = repair.propose(facts(home, config=file), said)
    assert change is not None
    repair.apply(change, nothing)
    assert config.load(Flags(str(file)), {}).engine.args == {"max-num-seqs": 4}


@pytest.mark.parametrize(("coding", "known"), [("utf-16", True), ("latin-1", True), ("utf-16-le", False)])
def test_a_file_in_another_encoding_is_saved_as_it_was_meant(home: Path, coding: str, known: bool) -> None:
    file, text = home / "mine.yaml", "gateway: {port: 4000}  # für mich\n"
    file.write_bytes(text.encode(coding))
    said = finding("stack.corrected", f"{file}:1: not UTF-8")
    change = repair.propose(facts(home, config=file), said)
    assert (change is not None) is known
    if change is not None:
        repair.apply(change, nothing)
        assert file.read_text(encoding="utf-8") == text


def test_a_link_is_moved_aside_unless_somebodys_state_lies_behind_it(home: Path) -> None:
    link, real = home / "state", home / "real"
    real.mkdir()
    link.symlink_to(real)
    said = finding("private", f"the state directory {link} is a symbolic link: whoever set it")
    assert repair.propose(facts(home), said) == repair.Change(f"move {link} aside", (repair.Edit(str(link), None),))
    (real / "stacks").mkdir()
    assert repair.propose(facts(home), said) is None


def test_a_setting_is_taken_out_of_claude_codes_settings_and_the_rest_stays(home: Path) -> None:
    file = home / "settings.json"
    file.write_text('{"autoCompactEnabled": false, "model": "opus"}')
    said = finding("settings.unset || shell.unset autoCompactEnabled", f"it is off ({file})")
    said = replace(said, evidence=(f"{file} sets autoCompactEnabled to false",))
    change = repair.propose(facts(home), said)
    assert change is not None
    repair.apply(change, nothing)
    assert json.loads(file.read_text()) == {"model": "opus"}


def test_a_key_that_is_written_is_not_shown(home: Path) -> None:
    change = repair.Change("", (repair.Edit(str(home / "client.key"), "sk-canary\n", secret=True),))
    assert repair.shown(change) == [f"write       {home}/client.key"]
    assert "canary" not in repr(change)
    repair.apply(change, nothing)
    assert (home / "client.key").read_text() == "sk-canary\n"
    assert (home / "client.key").stat().st_mode & 0o777 == 0o600


def test_two_steps_on_one_file_are_one_after_the_other(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    change = repair.propose(
        facts(home, config=file), finding("stack.set gateway.port 4001 && stack.unset engines.main.model")
    )
    assert change is not None
    applied = repair.apply(change, nothing)
    assert "4001" in file.read_text()
    assert "some/model" not in file.read_text()
    applied.undo()
    assert file.read_text() == CONFIG


def test_a_repair_goes_on_from_one_that_was_not_enough(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    given = facts(home, config=file)
    first = repair.propose(given, finding("stack.set gateway.port 4001 && restart"))
    both = repair.propose(given, finding("stack.unset engines.main.model && restart"), first)
    assert both is not None
    assert both.commands == (("restart",),)
    applied = repair.apply(replace(both, commands=()), nothing)
    assert "4001" in file.read_text()
    assert "some/model" not in file.read_text()
    ((_, copy),) = applied.backups
    assert Path(copy).read_text() == CONFIG


def test_a_trusted_configuration_stays_trusted(home: Path) -> None:
    file = home / "stack.yaml"
    file.write_text(CONFIG)
    trust.add(str(file))
    change = repair.propose(facts(home), finding("stack.set gateway.port 4001"))
    assert change is not None
    repair.apply(change, nothing)
    assert b"4001" in trust.content(str(file), named=False)


def test_every_deployment_of_a_handwritten_file_is_changed(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND)
    change = repair.propose(facts(home, hand=file), finding("litellm.set 'model_list.*.litellm_params.timeout' 600"))
    assert change is not None
    repair.apply(change, nothing).keep()
    assert file.read_text() == HAND.replace("/v1}", "/v1, timeout: 600}")


def test_one_deployment_is_changed_by_its_name(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND)
    change = repair.propose(facts(home, hand=file), finding("litellm.row other api_base http://127.0.0.1:8001"))
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == HAND.replace("8001/v1", "8001")


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("{fallbacks: [{a: [gone]}], num_retries: 0}", "{num_retries: 0}"),
        ("{fallbacks: [{a: [gone, b]}, {c: [gone]}], num_retries: 0}", "{fallbacks: [{a: [b]}, {c: [gone]}], num_retries: 0}"),
        ("{fallbacks: [{a: [gone], c: [d]}]}", "{fallbacks: [{c: [d]}]}"),
    ],
)  # fmt: skip
def test_a_fallback_that_is_not_there_is_taken_out(home: Path, given: str, left: str) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND + f"router_settings: {given}\n")
    change = repair.propose(facts(home, hand=file), finding("litellm.fallback router_settings a gone"))
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == HAND + f"router_settings: {left}\n"


def with_key(home: Path, key: str) -> Path:
    file = home / "litellm_config.yaml"
    file.write_text(HAND + f"general_settings: {{master_key: {key}}}\n")
    return file


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"LITELLM_MASTER_KEY": "sk-0123456789abcdef0123"}, "LITELLM_MASTER_KEY"),
        ({"LITELLM_MASTER_KEY": "sk-other", "MY_KEY": "sk-1234"}, "MY_KEY"),
        ({"LITELLM_MASTER_KEY": "sk-short"}, ""),
        ({}, ""),
    ],
)
def test_a_key_in_a_file_becomes_a_variable_that_this_shell_has(home: Path, environ: dict[str, str], name: str) -> None:
    file = with_key(home, "sk-1234")
    seen = Facts(environ, str(home), str(home), Flags(), True, hand_file=str(file))
    found = Finding("some.thing", Status.WARN, "weak", ("general_settings.master_key",), fix="litellm.reference")
    change = repair.propose(seen, found)
    if not name:
        assert change is None
        return
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == HAND + f"general_settings: {{master_key: os.environ/{name}}}\n"


def test_a_key_of_a_deployment_becomes_a_variable_with_the_same_value(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND.replace("8001/v1}", "8001/v1, api_key: sk-0123456789ab}"))
    seen = Facts({"ENGINE_KEY": "sk-0123456789ab"}, str(home), str(home), Flags(), True, hand_file=str(file))
    found = Finding("some.thing", Status.WARN, "x", ("model_list[1].litellm_params.api_key",), fix="litellm.reference")
    change = repair.propose(seen, found)
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == HAND.replace("8001/v1}", "8001/v1, api_key: os.environ/ENGINE_KEY}")


def test_variables_leave_a_settings_file_and_the_rest_stays(home: Path) -> None:
    file = home / "settings.json"
    text = json.dumps({"env": {"ANTHROPIC_BASE_URL": "x", "DEBUG": "1"}, "theme": "dark"}, indent=4) + "\n"
    file.write_text(text)
    file.chmod(0o640)
    change = repair.propose(facts(home), finding("settings.unset", f"{file} sets ANTHROPIC_BASE_URL to x"))
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == json.dumps({"env": {"DEBUG": "1"}, "theme": "dark"}, indent=4) + "\n"
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_helper_for_keys_leaves_a_settings_file_and_the_rest_stays(home: Path) -> None:
    file = home / "settings.json"
    file.write_text('{"apiKeyHelper": "/bin/echo sk-x", "theme": "dark"}')
    said = f"{file} names an apiKeyHelper; its key is not used while the token is set"
    change = repair.propose(facts(home), finding("settings.unset", said))
    assert change is not None
    ((_, copy),) = repair.apply(change, nothing).backups
    assert json.loads(file.read_text()) == {"theme": "dark"}
    assert "apiKeyHelper" in Path(copy).read_text()


def test_a_linked_dotfile_is_changed_where_it_really_is(home: Path) -> None:
    real = home / "dotfiles" / "bashrc"
    real.parent.mkdir()
    real.write_text("one\nexport ANTHROPIC_BASE_URL=x\n")
    link = home / ".bashrc"
    link.symlink_to(real)
    change = repair.propose(facts(home), finding(f"comment {link} 2"))
    assert change is not None
    repair.apply(change, nothing)
    assert link.is_symlink()
    assert real.read_text() == "one\n# export ANTHROPIC_BASE_URL=x\n"


def test_what_fails_half_way_is_undone(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    change = repair.propose(facts(home, config=file), finding("stack.set gateway.port 4001 && restart"))
    assert change is not None
    asked: list[Sequence[str]] = []

    def fails(words: Sequence[str]) -> None:
        asked.append(words)
        raise StackError("it did not come back", remedy="")

    with pytest.raises(StackError):
        repair.apply(change, fails)
    assert asked == [("restart",)]
    assert file.read_text() == CONFIG
    assert sorted(each.name for each in home.iterdir()) == ["mine.yaml"]


@pytest.mark.parametrize("fix", ["", "stack.unset gateway.host", "stack.corrected", "aside /nowhere/at/all", "no-such-repair", "settings.unset"])  # fmt: skip
def test_what_cannot_be_repaired_is_not_offered(home: Path, fix: str) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    assert repair.propose(facts(home, config=file), finding(fix)) is None


@pytest.mark.parametrize(
    ("text", "said", "remedy", "made"),
    [
        ("gatway:\n  port: 4100\n", "unknown key `gatway`", "did you mean `gateway`?", "gateway:\n  port: 4100\n"),
        ("routes: {default: mian}\n", "`routes.default` names the engine `mian`", "use `main`", "routes: {default: main}\n"),
        ("gateway:\n\tport: 4100\n", "x.yaml:2: found character '\\t' that cannot start any token", "", "gateway:\n    port: 4100\n"),
        ("gateway: {port: 1}\nroutes: {}\ngateway: {port: 2}\n", "x.yaml:3: the key `gateway` stands twice", "keep one", "routes: {}\ngateway: {port: 2}\n"),
        ("gateway: {port: many, host: localhost}\n", "`gateway.port`: expected a whole number, got text", "", "gateway: {host: localhost}\n"),
        ("gateway: {port: '4 100'}\n", "`gateway.port`: expected a whole number, got text", "", "gateway: {port: 4100}\n"),
        ("engines: {a: {url: http://b:1, args: {x: 1}, port: 2}}\n", "`engines.a` has both `url` and `port`: an engine", "", "engines: {a: {url: http://b:1}}\n"),
        ("engines: {a: {model: m, api_key: k}}\n", "`engines.a.api_key` must name an environment variable", "", "engines: {a: {model: m}}\n"),
        ("gateway: {kind: litelm}\n", "`gateway.kind` is 'litelm', and may be litellm or direct", "write litellm", "gateway: {kind: litellm}\n"),
        ("gateway: {kind: x, port: 1}\n", "`gateway.kind` is 'x', and may be litellm or direct", "write litellm or direct", "gateway: {port: 1}\n"),
        ("a: {n: 16k}\n", "`a.n` is '16k', and may be a whole number or auto", "write  n: 16384  or  n: auto", "a: {n: 16384}\n"),
        ("gateway: {port: 80000, host: a}\n", "`gateway.port`: expected a whole number <= 65535", "", "gateway: {host: a}\n"),
        ("gateway: {verbose: 1, host: a}\n", "unknown key `gateway.verbose`", "the keys here are: host", "gateway: {host: a}\n"),
        ("engines: {a: m}\n", "`engines.a` must be a mapping, not text", "", "engines: {a: {model: m}}\n"),
        ("gateway: {host: 0.0.0.0}\n", "`gateway.host` is 0.0.0.0: other machines", "", "gateway: {host: 127.0.0.1}\n"),
    ],
)  # fmt: skip
def test_a_refused_configuration_is_corrected_as_its_own_words_say(
    home: Path, text: str, said: str, remedy: str, made: str
) -> None:
    file = home / "mine.yaml"
    file.write_text(text)
    refused = Finding("configuration.unusable", Status.FAIL, said, remedy=remedy, fix="stack.corrected")
    change = repair.propose(facts(home, config=file), refused)
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gateway: {port: 1, host: a}\ngateway: {port: 2}\n", "x.yaml:2: the key `gateway` stands twice"),
        ("engines: {a: {url: http://b:1, api_key: k}}\n", "`engines.a.api_key` must name an environment variable"),
    ],
)
def test_a_correction_that_would_lose_something_is_not_offered(home: Path, text: str, said: str) -> None:
    file = home / "mine.yaml"
    file.write_text(text)
    refused = Finding("configuration.unusable", Status.FAIL, said, fix="stack.corrected")
    assert repair.propose(facts(home, config=file), refused) is None


def test_settings_lose_their_comments_and_last_commas_only(home: Path) -> None:
    file = home / "settings.json"
    file.write_text('{\n  // mine\n  "env": {"A": "//x, }", /* b */},\n}\n')
    change = repair.propose(facts(home), finding("settings.proper", f"{file} is not JSON"))
    assert change is not None
    repair.apply(change, nothing)
    assert json.loads(file.read_text()) == {"env": {"A": "//x, }"}}


def test_settings_that_are_broken_otherwise_are_their_owners(home: Path) -> None:
    file = home / "settings.json"
    file.write_text('{"env": {"A": ')
    assert repair.propose(facts(home), finding("settings.proper", f"{file} is not JSON")) is None


def test_an_address_is_taken_from_the_other_deployments_only_when_they_agree(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND.replace(", api_base: http://127.0.0.1:8001/v1", ""))
    change = repair.propose(facts(home, hand=file), finding("litellm.base other"))
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == HAND.replace("8001", "8000")
    three = HAND + "  - {model_name: third, litellm_params: {model: openai/third}}\n"
    file.write_text(three)
    assert repair.propose(facts(home, hand=file), finding("litellm.base third")) is None


def test_every_repair_that_an_answer_or_a_log_names_exists() -> None:
    fixes = {name: row.fix for name, (_, row) in answers.table().items()}
    fixes |= {row.id: row.fix for row in symptoms.table().failures}
    for name, fix in fixes.items():
        for step in filter(None, fix.split(" && ")):
            assert step.split()[0] in repair.NAMES, f"{name}: {step}"


def started(home: Path, config: str, service: str, log: str) -> tuple[str, str] | None:
    """The configuration that the repair of a failed start leaves, and what is run; None where none is offered."""
    file = home / "mine.yaml"
    file.write_text(config)
    cause = symptoms.diagnose(service, log, engine="main")
    assert cause is not None
    change = repair.propose(facts(home, config=file), finding(cause.fix))
    if change is None:
        return None
    repair.apply(replace(change, commands=()), nothing)
    return file.read_text(), " ".join(" ".join(each) for each in change.commands)


def sample(row: str) -> str:
    return next(each.sample for each in symptoms.table().failures if each.id == row)


@pytest.mark.parametrize(
    ("row", "before", "after"),
    [
        ("bad_flag", "args: {no-such-flag: 3, seed: 1}", "args: {seed: 1}"),
        ("bad_flag", "args: {no_such_flag: 3}", "args: {}"),
        ("bad_value", "args: {max-model-len: abc, seed: 1}", "args: {seed: 1}"),
        ("tool_parser_unknown", "args: {tool-call-parser: qwen3xml}", "args: {tool-call-parser: qwen3_xml}"),
        ("reasoning_unknown", "args: {reasoning-parser: qwen33}", "args: {reasoning-parser: qwen3}"),
        ("parser_tokenizer", "args: {tool-call-parser: kimi_k2, seed: 1}", "args: {seed: 1}"),
        ("maxlen_gt_model", "max_model_len: 999999", "max_model_len: 8192"),
        ("maxlen_gt_model", "args: {max-model-len: 999999}", "args: {max-model-len: 8192}"),
        ("kv_too_small", "max_model_len: 1000000", "max_model_len: 46464"),
        ("kv_too_small_unknown", "max_model_len: 131072", "max_model_len: auto"),
        ("quant_unknown", "args: {quantization: nosuch}", "args: {}"),
        ("bf16", "args: {dtype: bfloat16}", "args: {dtype: half}"),
        ("gpu_busy", "args: {gpu-memory-utilization: 0.92}", "args: {gpu-memory-utilization: 0.41}"),
        ("no_kv", "args: {gpu-memory-utilization: 0.1}", "args: {}"),
        ("oom_warmup", "args: {max-num-seqs: 1024}", "args: {max-num-seqs: 16}"),
        ("cpu_busy", "args: {gpu-memory-utilization: 1.0}", "args: {}"),
        ("cpu_busy", "args: {seed: 1}", "args: {seed: 1}"),  # the share was ours: another is reckoned at each start
        (
            "arch",
            "args: {hf-overrides: {architectures: [NoSuchForCausalLM]}, seed: 1}",
            "args: {seed: 1}",
        ),
        ("no_compiler", "args: {enforce-eager: false}", "args: {enforce-eager: true}"),
    ],
)
def test_what_a_start_failed_for_leaves_the_configuration(home: Path, row: str, before: str, after: str) -> None:
    config = "engines:\n  main:\n    model: some/model  # mine\n    {}\n"
    assert started(home, config.format(before), "engine", sample(row)) == (config.format(after), "restart")


@pytest.mark.parametrize(
    ("row", "written"),
    [
        ("bad_flag", "args: {seed: 1}"),  # it stands elsewhere: in `command:`
        ("tool_parser_unknown", "args: {tool-call-parser: mine_alone}"),  # none is near
        ("no_kv", "args: {seed: 1}"),  # the share is not the user's
        ("arch", "args: {hf-overrides: {max_position_embeddings: 8192}}"),
        ("oom_load", "args: {seed: 1}"),
        ("gated", "args: {seed: 1}"),
        ("trust_remote", "args: {seed: 1}"),
    ],
)
def test_a_start_that_failed_for_nothing_in_the_configuration_has_no_repair(home: Path, row: str, written: str) -> None:
    config = f"engines:\n  main:\n    model: some/model\n    {written}\n"
    assert started(home, config, "engine", sample(row)) is None


def test_a_start_that_failed_is_tried_again_once_its_configuration_was_changed(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    given = replace(facts(home, config=file), paths=StackPaths("default"))
    assert given.paths is not None
    log = Path(given.paths.log("engine"))
    log.parent.mkdir(parents=True)
    log.write_text("it failed")
    for seconds, commands in ((-60, ()), (60, (("up",),))):
        at = log.stat().st_mtime + seconds
        os.utime(file, (at, at))
        change = repair.propose(given, finding("stack.unset gateway.host || start-again"))
        assert (change.commands if change is not None else ()) == commands


@pytest.mark.parametrize(
    ("model", "given"),
    [("Qwen/Qwen3-8B", True), ("Qwen/Qwen3-8B-Base", False), ("Qwen/Qwen2.5-Coder-7B", False), ("some/model", False)],
)
def test_a_missing_template_is_the_spare_one_of_the_family(home: Path, model: str, given: bool) -> None:
    file = home / "mine.yaml"
    file.write_text(f"engines: {{main: {{model: {model}}}}}\n")
    change = repair.propose(facts(home, config=file), finding("engine-template main && restart-running"))
    assert (change is not None) == given
    if change is None:
        return
    applied = repair.apply(change, nothing)
    template = home / "state" / "config" / "chat-templates" / "chatml_hermes.jinja"
    assert file.read_text() == f"engines: {{main: {{model: {model}, args: {{chat-template: {template}}}}}}}\n"
    assert "<tool_call>" in template.read_text()
    applied.undo()
    assert not template.exists()


def test_a_template_that_was_named_gives_way_to_the_models_own(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text("engines: {main: {model: some/model, args: {chat-template: /my/own.jinja, seed: 1}}}\n")
    change = repair.propose(facts(home, config=file), finding("engine-template main && restart-running"))
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_text() == "engines: {main: {model: some/model, args: {seed: 1}}}\n"


def test_a_window_too_small_for_an_agent_is_no_repair(home: Path) -> None:
    log = sample("kv_too_small").replace("46464", "2048")
    assert started(home, "engines: {main: {model: some/model, max_model_len: 32768}}", "engine", log) is None


def test_the_near_one_of_the_values_that_are_listed_is_taken(home: Path) -> None:
    log = "api_server.py: error: argument --dtype: invalid choice: 'bfloat' (choose from auto, bfloat16, float32)"
    config = "engines: {main: {model: some/model, args: {dtype: bfloat}}}\n"
    assert started(home, config, "engine", log) == (config.replace("bfloat}", "bfloat16}"), "restart")


def test_the_parser_of_a_known_family_is_left_to_the_catalogue(home: Path) -> None:
    config = "engines: {main: {model: Qwen/Qwen3-8B, args: {tool-call-parser: nosuch, seed: 1}}}\n"
    expected = "engines: {main: {model: Qwen/Qwen3-8B, args: {seed: 1}}}\n"
    assert started(home, config, "engine", sample("tool_parser_unknown")) == (expected, "restart")


def test_what_a_log_says_is_no_repair_of_its_own(home: Path) -> None:
    log = "api_server.py: error: unrecognized arguments: --seed && aside /etc '\""
    config = "engines: {main: {model: some/model, args: {seed: 1}}}\n"
    made = started(home, config, "engine", log)
    assert made == ("engines: {main: {model: some/model, args: {}}}\n", "restart")


def test_a_deployment_where_nobody_answers_goes_to_the_other_address_of_the_file(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND)
    change = repair.propose(facts(home, hand=file), finding("litellm.address other"))
    assert change is not None
    assert change.edits[0].text == HAND.replace("8001", "8000")
    file.write_text(
        HAND + "  - {model_name: third, litellm_params: {model: openai/third, api_base: http://127.0.0.1:8002}}\n"
    )
    assert repair.propose(facts(home, hand=file), finding("litellm.address other")) is None


def test_deployments_go_to_the_address_at_which_their_engine_listens(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND)
    change = repair.propose(facts(home, hand=file), finding("litellm.at other http://[::1]:8001"))
    assert change is not None
    bases = [each["litellm_params"]["api_base"] for each in yaml.safe_load(change.edits[0].text or "")["model_list"]]
    assert bases == ["http://127.0.0.1:8000/v1", "http://[::1]:8001/v1"]


def test_what_stands_beside_the_name_of_a_row_goes_below_it(home: Path) -> None:
    file = home / "litellm_config.yaml"
    flat = "model_list:\n  - model_name: mine  # of the desk\n    model: openai/qwen3\n    api_base: http://127.0.0.1:8000/v1\n    rpm: 6\n"
    file.write_text(flat)
    change = repair.propose(facts(home, hand=file), finding("litellm.nest mine"))
    assert change is not None
    params = {"model": "openai/qwen3", "api_base": "http://127.0.0.1:8000/v1", "rpm": 6}
    text = change.edits[0].text or ""
    assert yaml.safe_load(text) == {"model_list": [{"model_name": "mine", "litellm_params": params}]}
    assert "# of the desk" in text
    file.write_text("model_list:\n  - model_name: mine\n    api_base: http://127.0.0.1:8000/v1\n")
    assert repair.propose(facts(home, hand=file), finding("litellm.nest mine")) is None  # which model, nobody knows


def test_an_engine_is_asked_by_its_own_messages(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND.replace("openai/qwen3", "hosted_vllm/Qwen/Qwen3-8B"))
    change = repair.propose(facts(home, hand=file), finding("litellm.native claude-local"))
    assert change is not None
    first, other = yaml.safe_load(change.edits[0].text or "")["model_list"]
    assert first["litellm_params"] == {"model": "anthropic/Qwen/Qwen3-8B", "api_base": "http://127.0.0.1:8000", "api_key": "none"}  # fmt: skip
    assert other["litellm_params"]["model"] == "openai/other"
    file.write_text(HAND.replace("openai/qwen3", "gemini/pro"))
    assert repair.propose(facts(home, hand=file), finding("litellm.native claude-local")) is None


def test_a_model_that_an_engine_does_not_serve_gets_the_only_name_that_it_has(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND)
    change = repair.propose(facts(home, hand=file), finding("litellm.served qwen3 '`Qwen/Qwen3-8B`'"))
    assert change is not None
    assert change.edits[0].text == HAND.replace("openai/qwen3", "openai/Qwen/Qwen3-8B")
    for names in ("none", "'`a`, `b`'"):
        assert repair.propose(facts(home, hand=file), finding(f"litellm.served qwen3 {names}")) is None


def test_no_deployment_is_asked_twice(home: Path) -> None:
    file = home / "litellm_config.yaml"
    file.write_text(HAND.replace("/v1}", "/v1, num_retries: 2}"))
    change = repair.propose(facts(home, hand=file), finding("litellm.once"))
    assert change is not None
    made = str(change.edits[0].text)
    assert made.count("num_retries: 0") == 4
    assert "num_retries: 2" not in made


def test_the_ends_of_lines_stay_as_they_are(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_bytes(CONFIG.replace("\n", "\r\n").encode())
    change = repair.propose(facts(home, config=file), finding("stack.set gateway.port 4001"))
    assert change is not None
    repair.apply(change, nothing)
    assert file.read_bytes() == CONFIG.replace("4000", "4001").replace("\n", "\r\n").encode()


def test_a_file_that_cannot_be_written_leaves_no_copy(home: Path) -> None:
    file = home / "mine.yaml"
    file.write_text(CONFIG)
    change = repair.propose(facts(home, config=file), finding("stack.set gateway.port 4001"))
    assert change is not None
    (home / f"mine.yaml.{os.getpid()}.tmp").mkdir()  # where the new text is to be written first
    with pytest.raises(OSError):
        repair.apply(change, nothing)
    assert (file.read_text(), sorted(each.name for each in home.iterdir())) == (
        CONFIG,
        ["mine.yaml", f"mine.yaml.{os.getpid()}.tmp"],
    )
