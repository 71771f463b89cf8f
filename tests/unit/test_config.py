"""Every mistake in a stack.yaml gets one clear sentence, the key, and what to write instead."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from stackctl import config, files, names, ports, trust
from stackctl.config import EMBEDDED, Flags
from stackctl.errors import USAGE, ConfigError
from stackctl.paths import StackPaths
from tests import examples

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for name in ("STACKCTL_NAME", "STACKCTL_MODEL", "STACKCTL_GATEWAY", "STACKCTL_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def load(tmp_path: Path, text: str | bytes, **flags: str) -> config.Loaded:
    path = tmp_path / "given.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return config.load(Flags(config=str(path), **flags))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_is_a_whole_configuration(tmp_path: Path, text: str) -> None:
    loaded = load(tmp_path, text)
    assert loaded.engine.model == EMBEDDED
    assert (loaded.engine.port, loaded.config.gateway.port) == (8000, 4000)


TWO = "engines: {a: {model: x}, b: {model: y}}"
HOSTED = "{hosted: anthropic/claude-opus-4-8, api_key: env/K}"
BAD = {
    "misspelt key": ("engins: {}", "unknown key `engins`", "`engines`"),
    "misspelt inner key": ("engines: {a: {modle: x}}", "unknown key `engines.a.modle`", "`model`"),
    "a flag of vLLM among the keys": (
        "engines: {a: {model: x, kv-cache-dtype: fp8}}",
        "unknown key `engines.a.kv-cache-dtype`",
        "under `args`",
    ),
    "wrong type": ("gateway: {port: many}", "`gateway.port`: expected a whole number, got text", "port: 4000"),
    "a unit": (
        "gateway: {request_timeout: 10m}",
        "`gateway.request_timeout`: expected",
        "request_timeout: 600 (seconds",
    ),
    "one alias": ("aliases: claude-x", "`aliases`: expected a list, got text", "aliases: [claude-x]"),
    "flags as a line": ("engines: {a: {model: x, args: --max-num-seqs 4}}", "got text", "args: {max-num-seqs: 4}"),
    "wrong type inside an engine": (
        "engines: {a: {model: x, args: [1]}}",
        "`engines.a.args`: expected a mapping, got a list",
        "",
    ),
    "engines as a list": ("engines: [a]", "`engines` must map names to engines", "engines: {main"),
    "scalar for a section": ("gateway: 4000", "`gateway` must be a mapping", ""),
    "port zero": ("gateway: {port: 0}", "`gateway.port`", ""),
    "port too high": ("engines: {a: {model: x, port: 65536}}", "`engines.a.port`", ""),
    "equal ports": ("engines: {a: {model: x, port: 4000}}", "both 4000", "port of its own"),
    "unknown gateway kind": (
        "gateway: {kind: litelm}",
        "`gateway.kind` is 'litelm', and may be litellm or direct",
        "write litellm",
    ),
    "two engines and no default": (f"{TWO}", "there are 2 engines (a, b)", "routes: {default: a}"),
    "two engines on one port": (
        "engines: {a: {model: x, port: 8001}, b: {model: y, port: 8001}}\nroutes: {default: a}",
        "`engines.b.port` and `engines.a.port` are both 8001",
        "a port of its own",
    ),
    "two engines and direct": (
        f"{TWO}\nroutes: {{default: a}}\ngateway: {{kind: direct}}",
        "direct, and there are 2 engines",
        "litellm",
    ),
    "a route and direct": (
        "engines: {a: {model: x}}\nroutes: {opus: a}\ngateway: {kind: direct}",
        "there is the route `opus`",
        "litellm",
    ),
    "an engine named as a service": ("engines: {gateway: {model: x}}", "`gateway` is taken", "another name"),
    "route to nowhere": ("engines: {coder: {model: x}}\nroutes: {default: codr}", "`codr`", "`coder`"),
    "tier to nowhere": ("engines: {coder: {model: x}}\nroutes: {opus: codr}", "`routes.opus` names", "`coder`"),
    "misspelt tier": ("engines: {c: {model: x}}\nroutes: {sonet: c}", "unknown route `routes.sonet`", "`sonnet`"),
    "a tier in the plural": ("engines: {c: {model: x}}\nroutes: {subagents: c}", "`routes.subagents`", "`subagent`"),
    "a route with a space": ("engines: {c: {model: x}}\nroutes: {'my model': c}", "'my model'", "correct the route"),
    "routes as a list": ("routes: [a]", "`routes` must map names to engines", "routes: {default"),
    "a route to a number": ("engines: {c: {model: x}}\nroutes: {opus: 3}", "`routes.opus` must be", "hosted"),
    "an engine elsewhere that is the gateway itself": (
        'engines: {c: {url: "http://localhost:4000/v1"}}',
        "own gateway listens",
        "the engine's own address",
    ),
    "a hosted default": (f"routes: {{default: {HOSTED}}}", "`routes.default` is hosted", "another route: opus"),
    "misspelt key of a hosted route": (
        "routes: {opus: {hosted: a/b, apikey: env/K}}",
        "unknown key `routes.opus.apikey`",
        "`api_key`",
    ),
    "a hosted route without a key": ("routes: {opus: {hosted: a/b}}", "`routes.opus`: object missing", "`routes.opus`"),
    "a hosted model without provider": (
        "routes: {opus: {hosted: claude-opus-4-8, api_key: env/K}}",
        "`routes.opus.hosted` is 'claude-opus-4-8'",
        "anthropic/claude-opus-4-8",
    ),
    "a provider's key in the file": (
        "routes: {opus: {hosted: a/b, api_key: sk-123}}",
        "`routes.opus.api_key` must name an environment variable",
        "env/MY_KEY",
    ),
    "a provider's address that is none": (
        "routes: {opus: {hosted: a/b, api_key: env/K, api_base: 'x:1'}}",
        "`routes.opus.api_base` is not an http address",
        "https://",
    ),
    "background and haiku": (
        "engines: {c: {model: x}}\nroutes: {haiku: c, background: c}",
        "`routes.background` and `routes.haiku` are the same",
        "keep one",
    ),
    "a route that is an alias as well": (
        "engines: {c: {model: x}}\nroutes: {mine: c}\naliases: [mine]",
        "`routes.mine` and `aliases` both answer to the name mine",
        "keep one",
    ),
    "a route that is a tier's name": (
        "engines: {c: {model: x}}\nroutes: {claude-local-opus: c, opus: c}",
        "both answer to the name claude-local-opus",
        "keep one",
    ),
    "a route in place of the default": (
        "engines: {c: {model: x}}\nroutes: {claude-local: c}",
        "`routes.claude-local` and `routes.default`",
        "keep one",
    ),
    "engine without model": ("engines: {a: {}}", "neither `model` nor `url`", "engines.a.model"),
    "key in the file": (
        "engines: {a: {url: 'http://h:1', api_key: sk-123}}",
        "must name an environment variable",
        "env/MY_KEY",
    ),
    "password in the url": ("engines: {a: {url: 'http://u:secret@h:1'}}", "has a password", "env/MY_KEY"),
    "not an address": ("engines: {a: {url: 'h:8000'}}", "not an http address", "http://"),
    "half an address": ("engines: {a: {url: 'http://[::1'}}", "not an http address", "http://"),
    "an address with a port that is none": ("engines: {a: {url: 'http://h:99999'}}", "not an http address", "http://"),
    "an address with a space": ("engines: {a: {url: 'http://h 1:80'}}", "not an http address", "http://"),
    "url with python": ("engines: {a: {url: 'http://h:1', python: /x}}", "both `url` and `python`", ""),
    "url and direct": ("engines: {a: {url: 'http://h:1'}}\ngateway: {kind: direct}", "nothing to start", "litellm"),
    "alias with a space": ("aliases: [claude opus]", "'claude opus'", ""),
    "alias with a newline": ('aliases: ["a\\nb"]', "aliases", ""),
    "alias with a quote": ("aliases: ['a\"b']", "aliases", ""),
    "hostile name": ("name: ../../etc", "'../../etc'", ""),
    "hostile engine name": ("engines: {'a/../b': {model: x}}", "the engine name", ""),
    "open to the network": ("gateway: {host: 0.0.0.0}", "other machines could reach", "allow_remote"),
    "anchors": ("a: &a [x]\nb: *a", "anchors and aliases", "write the value out"),
    "yaml bomb": ("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]", "anchors", ""),
    "anchor cycle": ("a: &a [*a]", "anchors", ""),
    "python object": ("name: !!python/object/apply:os.system ['touch owned']", "a tag", ""),
    "twice": ("name: a\nname: b", "`name` stands twice", ""),
    "a list": ("- a", "must be a mapping", "engines:"),
    "broken yaml": ("engines: {", "given.yaml:", "correct the YAML"),
    "deep": ("a: " + "[" * 3000, "given.yaml", ""),
    "not a flag": ("engines: {a: {model: x, args: {--foo: 1}}}", "'--foo'", "without dashes"),
    "a date among the flags": ("engines: {a: {model: x, args: {foo: 2026-01-01}}}", "`engines.a.args.foo`", "quotes"),
    "a set among the flags": (
        "engines: {a: {model: x, args: {foo: [!!set {b}]}}}",
        "`engines.a.args.foo[0]`",
        "quotes",
    ),
    "bytes among the flags": ("engines: {a: {model: x, args: {foo: {b: !!binary aGk=}}}}", "args.foo.b`", "quotes"),
    "a number that is none": ("engines: {a: {model: x, args: {foo: .nan}}}", "args.foo` is nan", "quotes"),
    "empty command": ("engines: {a: {model: x, command: []}}", "command` is empty", "list"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, case: str) -> None:
    text, says, offers = BAD[case]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert says in caught.value.message
    assert offers in caught.value.remedy
    assert caught.value.remedy
    assert caught.value.exit_code == USAGE
    assert "\n" not in caught.value.message
    assert not os.path.exists("owned")


def test_not_utf8_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"given\.yaml:2: not UTF-8"):
        load(tmp_path, b"name: a\n# \xff\xfe\n")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than 256 KiB"):
        load(tmp_path, b"#" * (trust.LIMIT + 1))


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        config.load(Flags(config=str(tmp_path / "none.yaml")))


def test_flags_beat_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "engines: {coder: {model: from-file, port: 8111}}"
    assert load(tmp_path, text).engine.model == "from-file"
    assert load(tmp_path, text).origin("engines.coder.port") == ("file", "given.yaml:1")
    monkeypatch.setenv("STACKCTL_MODEL", "from-environment")
    loaded = load(tmp_path, text)
    assert (loaded.engine.model, loaded.engine.port) == ("from-environment", 8111)
    assert loaded.origin("engines.coder.model") == ("environment", "STACKCTL_MODEL")
    loaded = load(tmp_path, text, model="from-flag")
    assert loaded.engine.model == "from-flag"
    assert loaded.origin("engines.coder.model") == ("flag", "--model")


def test_a_file_found_in_the_working_directory_counts_only_once_trusted() -> None:
    with open("stack.yaml", "w", encoding="utf-8") as stream:
        stream.write("engines: {a: {model: theirs, command: [sh, -c, 'touch owned']}}\n")
    with pytest.raises(ConfigError, match="not trusted") as caught:
        config.load(Flags())
    assert "stackctl trust" in caught.value.remedy
    trust.add(os.path.abspath("stack.yaml"))
    assert config.load(Flags()).engine.model == "theirs"
    with open("stack.yaml", "a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    with pytest.raises(ConfigError, match="not trusted"):
        config.load(Flags())
    assert config.load(Flags(config="stack.yaml")).engine.model == "theirs"  # naming it is consent


def test_the_users_own_file_needs_no_trust(tmp_path: Path) -> None:
    own = tmp_path / "home" / "config"
    own.mkdir(parents=True)
    (own / "stack.yaml").write_text("engines: {a: {model: mine}}\n")
    assert config.load(Flags()).engine.model == "mine"


def test_an_empty_config_option_is_no_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("stack.yaml", "w", encoding="utf-8") as stream:
        stream.write("engines: {a: {model: theirs, command: [sh]}}\n")
    with pytest.raises(ConfigError, match="--config is empty"):
        config.load(Flags(config=""))
    monkeypatch.setenv("STACKCTL_CONFIG", "")
    with pytest.raises(ConfigError, match="not trusted"):
        config.load(Flags())


@pytest.mark.parametrize(
    "text", ["name: foo", "name : foo", '"name": foo', "{name: foo}", "\ufeffname: foo # mine", "name: 'foo'"]
)
def test_every_way_to_write_a_name_is_the_same_stack(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text).config.name == "foo"
    assert names.stack_name(None, str(tmp_path / "given.yaml"), {}) == "foo"


def test_a_name_that_is_given_and_empty_is_refused() -> None:
    with pytest.raises(ConfigError, match="not 1 to 32"):
        names.stack_name("", None, {})


def test_a_configuration_that_is_gone_still_means_the_stack_that_was_started_from_it(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="no configuration file") as caught:
        names.stack_name(None, gone, {})
    assert "--name" in caught.value.remedy
    record = StackPaths("coder")
    os.makedirs(record.root)
    with open(record.ports, "w", encoding="utf-8") as stream:
        json.dump({"engine": 1, "gateway": 2, "config": gone}, stream)
    assert names.stack_name(None, gone, {}) == "coder"


def test_an_untrusted_file_does_not_name_the_stack() -> None:
    with open("stack.yaml", "w", encoding="utf-8") as stream:
        stream.write("name: theirs\n")
    assert names.stack_name(None, None, {}) == "default"


@pytest.mark.parametrize("key", ["port: 8000", "trust_remote_code: true"])
def test_what_only_a_managed_engine_has_is_refused_beside_url(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="both `url` and"):
        load(tmp_path, f"engines: {{a: {{url: 'http://h:1', {key}}}}}")


def test_direct_does_not_claim_to_listen_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1 only"):
        load(tmp_path, "gateway: {kind: direct, host: 0.0.0.0, allow_remote: true}")


def test_the_default_engine_comes_first_and_is_what_model_is_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{TWO}\nroutes: {{default: b, opus: a, sonnet: {HOSTED}}}"
    loaded = load(tmp_path, text)
    assert (list(loaded.engines), loaded.engine_name) == (["b", "a"], "b")
    assert list(loaded.hosted) == ["sonnet"]
    assert load(tmp_path, text, model="other").engines["b"].model == "other"
    monkeypatch.setenv("STACKCTL_MODEL", "third")
    assert [each.model for each in load(tmp_path, text).engines.values()] == ["third", "x"]


def test_each_engine_has_a_port_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    text = f"{TWO}\nroutes: {{default: a}}"
    paths = StackPaths("default")
    chosen = ports.choose(load(tmp_path, text), paths)
    assert chosen.engines["a"] == 8000
    assert chosen.engines["b"] > 8000
    os.makedirs(paths.root, 0o700)
    files.write_private(paths.ports, json.dumps({**chosen.record(), "engines": {"a": 8000, "b": 8444}}))
    assert ports.choose(load(tmp_path, text), paths).engines == {"a": 8000, "b": 8444}
    written = "engines: {a: {model: x}, b: {model: y, port: 8000}}\nroutes: {default: a}"
    assert ports.choose(load(tmp_path, written), StackPaths("default")).engines["b"] == 8000
    assert ports.choose(load(tmp_path, written), StackPaths("default")).engines["a"] not in {8000, 4000}


def test_engines_of_a_named_stack_keep_the_ports_that_they_got(tmp_path: Path) -> None:
    loaded, paths = load(tmp_path, f"name: other\n{TWO}\nroutes: {{default: a}}"), StackPaths("other")
    chosen = ports.choose(loaded, paths)
    assert len({*chosen.engines.values(), chosen.gateway, 4000, 8000}) == 5
    os.makedirs(paths.root, 0o700)
    files.write_private(paths.ports, json.dumps(chosen.record()))
    assert ports.choose(loaded, paths) == chosen


def test_the_schema_for_editors_is_that_of_the_code() -> None:
    with open(examples.SCHEMA, encoding="utf-8") as stream:
        assert stream.read() == examples.schema()


@pytest.mark.parametrize(
    ("said", "meant"),
    [("16k", "max_model_len: 16384  or"), ("'32,768'", "max_model_len: 32768  or"), ("automatic", "write auto"), ("big", "a whole number or auto")],
)  # fmt: skip
def test_what_may_be_written_is_said_in_words(tmp_path: Path, said: str, meant: str) -> None:
    with pytest.raises(ConfigError, match="and may be a whole number or auto") as refused:
        load(tmp_path, f"engines: {{main: {{model: embedded, max_model_len: {said}}}}}\n")
    assert meant in refused.value.remedy
