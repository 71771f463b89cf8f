"""Whatever a user gets wrong, at the real command line: one sentence, a remedy, the right exit code, and nothing left."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stackctl.model import ServiceKind
from stackctl.toolchain import locate
from tests.fakes import stack
from tests.fakes.hub import Hub, Repo
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1200),  # the first tests of a run wait for both environments to be installed
    pytest.mark.usefixtures("gateway_python", "embedded_model"),
]
CONFIG, PREFLIGHT = 2, 3
_PR_CAPBSET_DROP, _CAP_NET_BIND_SERVICE = 24, 10


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "state"


def up(
    home: Path, config: str | bytes | Mapping[str, Any], *flags: str, before: tuple[str, ...] = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    """`stackctl up` with a configuration, after a program (`unshare ...`) that prepares the ground."""
    file = home.parent / "given.yaml"
    text = config if isinstance(config, str | bytes) else json.dumps(config)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    env = {**stack.environment(home), "HF_HOME": str(home.parent / "hf"), **options.pop("env", {})}
    return subprocess.run(
        [*before, *stack.argv("up", "--yes", "-c", file, *flags)], env=env, cwd=home.parent, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=180, check=False, **options,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], code: int, says: str, offers: str) -> None:
    """It was refused as it should be: the last two lines are the sentence and the remedy."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *_, cause, remedy = done.stderr.splitlines()
    assert cause.startswith("stackctl: "), done.stderr
    assert says in cause
    assert remedy.startswith("     try: "), done.stderr
    assert offers in remedy
    assert done.stderr.isprintable() or "\x1b" not in done.stderr


def nothing_left(home: Path) -> None:
    """No process, and no state directory."""
    assert not home.exists(), list(home.rglob("*"))
    assert stack.leftovers(home) == []


def engine(**more: Any) -> dict[str, Any]:
    ports = {"engines": {"main": {"model": "embedded", "port": free_port(), **more}}}
    return {**ports, "gateway": {"port": free_port()}}


# --- the configuration and the command line: exit code 2

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
CONFIGS: dict[str, tuple[str | bytes | dict[str, Any], str, str]] = {
    "misspelt key": ({"engins": {}}, "unknown key `engins`", "did you mean `engines`?"),
    "misspelt inner key": ({"gateway": {"prt": 4000}}, "unknown key `gateway.prt`", "did you mean `port`?"),
    "unknown key": ({"zzz": 1}, "unknown key `zzz`", "the keys here are"),
    "wrong type": ({"gateway": {"port": "many"}}, "`gateway.port`: expected a whole number, got text", "write a whole number like  port: 4000"),
    "wrong type of a section": ({"aliases": "x"}, "`aliases`: expected a list, got text", "aliases"),
    "yaml bomb": (BOMB, "anchors and aliases", "write the value out"),
    "anchor cycle": ("a: &a [*a]", "anchors and aliases", "write the value out"),
    "python object": ("name: !!python/object/apply:os.system ['touch owned']", "plain YAML", "correct the YAML"),
    "python name": ("name: !!python/name:os.system", "plain YAML", "correct the YAML"),
    "not UTF-8": (b"name: \xff\xfe\n", "given.yaml:1: not UTF-8", "UTF-8"),
    "control characters": (b"name: a\x00b\n", "given.yaml", "correct the YAML"),
    "broken": ("engines: {", "given.yaml:", "correct the YAML"),
    "nested": ("a: " + "[" * 100_000, "given.yaml:1: nested too deeply", "four levels"),
    "huge": ("#" * 300_000, "larger than 256 KiB", "a few kilobytes"),
    "port out of range": ({"gateway": {"port": 65536}}, "`gateway.port`", "write a whole number like  port: 4000"),
    "port below range": ({"engines": {"a": {"model": "x", "port": 0}}}, "`engines.a.port`", "write a whole number like  port: 8000"),
    "a port as large as a city": ("gateway: {port: 1" + "0" * 5000 + "}", "given.yaml: a number with thousands of digits", "correct the YAML"),
    "both ports equal": ({"gateway": {"port": 8000}}, "are both 8000", "a port of its own"),
    "alias with a space": ({"aliases": ["claude opus"]}, "'claude opus'", "correct the alias"),
    "alias with a newline": ({"aliases": ["a\nb"]}, "aliases", "correct the alias"),
    "alias with a quote": ({"aliases": ['a"b']}, "aliases", "correct the alias"),
    "alias that is a template": ({"aliases": ["{{ 7*7 }}"]}, "aliases", "correct the alias"),
    "hostile name": ({"name": "../../etc"}, "'../../etc'", "a name such as"),
    "model with a newline": ({"engines": {"a": {"model": "x\ny"}}}, "not a model name", "a Hugging Face id or a path"),
    "model that is a flag": ({"engines": {"a": {"model": "--trust-remote-code"}}}, "not a model name", "Hugging Face"),
    "a flag that is stackctl's": (engine(args={"api-key": "x"}), "is set by stackctl", "a key is made"),
    "trust through args": (engine(args={"trust-remote-code": True}), "is set by stackctl", "trust_remote_code: true"),
    "a flag with dashes": (engine(args={"--host": "0.0.0.0"}), "not a flag of vLLM", "without dashes"),
    "open to others": ({"gateway": {"host": "0.0.0.0"}}, "other machines could reach", "allow_remote"),
    "a key in the file": ({"engines": {"a": {"url": "http://h:1", "api_key": "sk-1"}}}, "environment variable", "env/"),
    "a key that is not set": (
        {"engines": {"a": {"url": "http://127.0.0.1:9", "api_key": "env/NO_SUCH"}}},
        "$NO_SUCH, which is not set", "export NO_SUCH=",
    ),
    "an engine elsewhere that does not answer": (
        {"engines": {"a": {"url": "http://127.0.0.1:9"}}}, "http://127.0.0.1:9", "engines.a.model",
    ),
    "a Python that is not there": (engine(python="/no/such/python"), "/no/such/python", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIGS)
def test_a_configuration_that_cannot_be_used(home: Path, case: str) -> None:
    config, says, offers = CONFIGS[case]
    refused(up(home, config), CONFIG, says, offers)
    assert not (home.parent / "owned").exists()
    nothing_left(home)


def test_an_empty_file_is_a_whole_configuration(home: Path) -> None:
    done = up(home, "", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "--port 8000" in done.stdout
    nothing_left(home)


@pytest.mark.parametrize("command", ["up", "down", "status", "env", "render"])
def test_a_hostile_name(home: Path, command: str) -> None:
    for name in ("../x", "x" * 33, "a\nb"):
        done = stack.stackctl(home, command, "--name", name)
        refused(done, CONFIG, "is not 1 to 32 of a-z, 0-9 and -", "a name such as")
    nothing_left(home)


def test_a_file_or_an_option_that_is_not_there(home: Path) -> None:
    refused(stack.stackctl(home, "up", "-c", home / "none.yaml"), CONFIG, "none.yaml", "--config")
    refused(stack.stackctl(home, "up", "-c", home.parent), CONFIG, "Is a directory", "a file that you can read")
    refused(up(home, "", "--gateway", "litelm"), CONFIG, "gateway.kind", "")
    unknown = stack.stackctl(home, "up", "--modle", "x")
    assert unknown.returncode == CONFIG
    assert "--modle" in unknown.stderr
    assert "--model" in unknown.stderr
    nothing_left(home)


def test_a_configuration_of_a_cloned_repository_is_not_used(home: Path) -> None:
    own = home.parent / "stack.yaml"
    own.write_text("engines: {a: {model: x, command: [sh, -c, 'touch owned']}}\n")
    refused(stack.stackctl(home, "up", "--yes"), CONFIG, "is not trusted", "stackctl trust")
    assert not (home.parent / "owned").exists()
    nothing_left(home)


TEMPLATES: dict[str, tuple[Callable[[str], str], str]] = {
    "broken YAML": (lambda text: f"{text}\n  - {{", "the template renders broken YAML"),
    "drops the model": (lambda text: text.replace("models %}", "models[1:] %}"), "drops the model `claude-local`"),
    "runs code": (lambda _: "{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot be rendered"),
    "never ends": (lambda _: "{% for i in range(10**9) %}x{% endfor %}", "cannot be rendered"),
    "another's key": (lambda text: text.replace("os.environ/LITELLM_MASTER_KEY", "sk-1234"), "master_key"),
}


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_template_override_that_spoils_the_file(home: Path, case: str) -> None:
    spoil, says = TEMPLATES[case]
    own = home / "config" / "templates" / "litellm_config.yaml.j2"
    own.parent.mkdir(parents=True, mode=0o700)
    own.write_text(spoil((stack.ROOT / "templates" / own.name).read_text()))
    done = up(home, engine())
    refused(done, CONFIG, says, "")
    assert str(own) in done.stderr
    assert [path for path in home.rglob("*") if path.is_file()] == [own]


# --- this machine and this model: exit code 3


def test_a_port_that_is_taken_names_its_holder(home: Path) -> None:
    config = engine()
    for key, port in (
        ("engines.main.port", config["engines"]["main"]["port"]),
        ("gateway.port", config["gateway"]["port"]),
    ):
        with socket.create_server(("127.0.0.1", port)):
            done = up(home, config)
        refused(done, PREFLIGHT, f"port {port}", f"set {key} to another port")
        assert f"(pid {os.getpid()})" in done.stderr
    nothing_left(home)


def test_a_privileged_port(home: Path) -> None:
    """Root may; so it gives up that right first."""
    config = engine() | {"gateway": {"port": 81}}
    done = up(
        home, config, preexec_fn=lambda: ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_NET_BIND_SERVICE, 0, 0, 0)
    )
    refused(done, PREFLIGHT, "port 81 is privileged", "set gateway.port to 1024 or above")
    nothing_left(home)


def test_models_that_the_hub_does_not_give(home: Path) -> None:
    weights = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"x"}
    repos = {
        "an/gated": Repo(weights, gated=True, token="hf_right"),
        "an/adapter": Repo({"adapter_config.json": b"{}"}),
        "an/pickle": Repo({"config.json": b"{}", "tokenizer.json": b"{}", "pytorch_model.bin": b"x"}),
    }
    with Hub(repos) as hub:
        for model, says, offers in (
            ("no/such", "there is no model no/such", "check the spelling"),
            ("an/gated", "the model an/gated is gated", "accept it at"),
            ("an/adapter", "no config.json", "safetensors"),
            ("an/pickle", "pickled ones can run code", "safetensors"),
            ("one two/three", "one two/three", ""),
        ):
            env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_canary_7e"}
            done = up(home, engine(model=model), env=env)
            refused(done, PREFLIGHT, says, offers)
            assert "hf_canary_7e" not in done.stderr
    assert stack.leftovers(home) == []


def checkpoint(directory: Path, **config: Any) -> Path:
    """A model on disk that looks whole, but for its weights."""
    directory.mkdir(parents=True)
    given = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 8192, **config}
    (directory / "config.json").write_text(json.dumps(given))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"\0" * 64)
    return directory


def test_models_on_disk_that_are_not_whole(home: Path) -> None:
    root = home.parent
    for name in ("config", "tokenizer", "model"):
        directory = checkpoint(root / f"no-{name}")
        next(directory.glob(f"{name}.*")).unlink()
    checkpoint(root / "no-json").joinpath("config.json").write_text("{")
    checkpoint(root / "cut")
    for name, says in (
        ("no-config", "config.json"),
        ("no-tokenizer", "has no tokenizer"),
        ("no-model", "has no weights"),
        ("no-json", "config.json"),
        ("cut", "are not whole"),
        ("nowhere", "does not exist"),
    ):
        refused(up(home, engine(model=str(root / name))), PREFLIGHT, says, "")
    nothing_left(home)


def test_a_window_beyond_the_model(home: Path) -> None:
    model = str(checkpoint(home.parent / "short"))
    refused(up(home, engine(model=model, max_model_len=9000)), PREFLIGHT, "made for 8192", "set max_model_len: 8192")
    refused(up(home, engine(model=model, args={"max-model-len": 9000})), PREFLIGHT, "made for 8192", "8192")
    nothing_left(home)


def test_a_tool_parser_that_the_installed_vllm_does_not_have(home: Path) -> None:
    done = up(home, engine(args={"tool-call-parser": "hermez"}))
    refused(done, PREFLIGHT, "has no tool-call-parser `hermez`", "did you mean `hermes`?")
    done = up(home, engine(args={"tool-call-parser": "zzz"}))
    refused(done, PREFLIGHT, "has no tool-call-parser `zzz`", "it has: ")
    nothing_left(home)


def test_a_models_own_code_is_run_only_when_the_user_says_so(home: Path) -> None:
    model = checkpoint(home.parent / "theirs", model_type="theirs", auto_map={"AutoConfig": "code.Config"})
    owned = home.parent / "owned"
    (model / "code.py").write_text(f"open({str(owned)!r}, 'w')\nclass Config: pass\n")
    config = engine(model=str(model))
    refused(up(home, config), PREFLIGHT, "brings its own Python code", "engines.main.trust_remote_code: true")
    nothing_left(home)
    config["engines"]["main"]["trust_remote_code"] = True
    shown = up(home, config, "--dry-run")
    assert "--trust-remote-code" in shown.stdout
    assert not owned.exists()
    for plain in (engine(), engine(model="moonshotai/Kimi-K2-Instruct")):  # a family that needs it is not a yes
        shown = up(home, plain, "--dry-run")
        assert shown.returncode == 0, shown.stderr
        assert "--trust-remote-code" not in shown.stdout


READ = """
import sys
from vllm.tokenizers import get_tokenizer
from vllm.transformers_utils.config import get_config
print(type(get_config(sys.argv[1], trust_remote_code=False)).__name__)
get_tokenizer(sys.argv[1], trust_remote_code=False)
"""


def test_code_that_comes_with_a_known_kind_of_model_is_neither_run_nor_in_the_way(
    home: Path, embedded_model: str
) -> None:
    model = home.parent / "known"
    model.mkdir()
    for path in Path(embedded_model).iterdir():
        if path.suffix == ".json":
            brought = {"auto_map": {"AutoConfig": "code_of.It", "AutoTokenizer": ["code_of.It", None]}}
            (model / path.name).write_text(json.dumps(json.loads(path.read_bytes()) | brought))
        else:
            (model / path.name).symlink_to(path)
    owned = home.parent / "owned"
    (model / "code_of.py").write_text(f"open({str(owned)!r}, 'w')\nclass It: pass\n")
    done = up(home, engine(model=str(model), max_model_len=4096, args={"tool-call-parser": "hermez"}))
    refused(done, PREFLIGHT, "hermez", "hermes")  # for the parser alone
    assert "its own Python code" not in done.stderr
    python = locate(ServiceKind.ENGINE, configured_python=None, accelerator="cpu").python
    done = subprocess.run(
        [python, "-c", READ, model], env=stack.base_env(home.parent) | {"HF_HUB_OFFLINE": "1"}, cwd=home.parent,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "LlamaConfig", done.stderr
    assert not owned.exists()


# --- the state directory: exit code 3


def small_disk(options: str, place: Path) -> tuple[str, ...]:
    """A file system of its own at `place`, for the program that follows and nobody else."""
    own = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    return (*own, "sh", "-c", f'mount -t tmpfs -o {options} none "$0" && exec "$@"', str(place))


@pytest.mark.parametrize(
    ("options", "says", "offers"),
    [
        ("size=1m,mode=700", "only 1 MiB are free on the disk of", "or set STACKCTL_HOME"),
        ("size=1g,nr_inodes=1,mode=700", "cannot make the directory", "STACKCTL_HOME"),
        ("ro,mode=700", "cannot be made", "STACKCTL_HOME"),
    ],
    ids=["full", "no room for a name", "read-only"],
)
def test_no_disk(home: Path, options: str, says: str, offers: str) -> None:
    home.mkdir(mode=0o700)
    done = up(home, engine(), before=small_disk(options, home))
    refused(done, PREFLIGHT, says, offers)
    assert list(home.iterdir()) == []
    assert stack.leftovers(home) == []


def test_a_state_directory_that_is_a_link(home: Path) -> None:
    (home.parent / "elsewhere").mkdir(mode=0o700)
    home.symlink_to(home.parent / "elsewhere")
    refused(up(home, engine()), PREFLIGHT, "is a symbolic link", "STACKCTL_HOME")
    assert list((home.parent / "elsewhere").iterdir()) == []


def test_a_stacks_directory_that_is_a_link(home: Path) -> None:
    (home.parent / "elsewhere").mkdir(mode=0o700)
    (home / "stacks").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    (home / "stacks" / "default").symlink_to(home.parent / "elsewhere")
    refused(up(home, engine()), PREFLIGHT, "is a symbolic link", "remove it")
    assert list((home.parent / "elsewhere").iterdir()) == []


def test_a_state_directory_that_is_someone_elses(home: Path) -> None:
    if os.geteuid() == 0:
        home.mkdir(mode=0o700)
        os.chown(home, 65534, 65534)
        place, uid = home, 65534
    else:
        place, uid = Path("/usr"), 0
    done = up(home, engine(), env={"STACKCTL_HOME": str(place)})
    refused(done, PREFLIGHT, f"belongs to uid {uid}, not to you", "STACKCTL_HOME")
    assert not (place / "stacks").exists()


def test_a_state_directory_that_others_can_write_to(home: Path) -> None:
    home.mkdir()
    home.chmod(0o770)
    refused(up(home, engine()), PREFLIGHT, "others can write to", f"chmod 700 {home}")
    assert list(home.iterdir()) == []


def test_a_state_directory_that_is_a_file(home: Path) -> None:
    home.write_text("mine")
    refused(up(home, engine()), PREFLIGHT, "Not a directory", "STACKCTL_HOME")
    assert home.read_text() == "mine"


def test_as_json_the_refusal_is_a_document_on_stdout_too(home: Path) -> None:
    done = up(home, engine(args={"tool-call-parser": "hermez"}), "--json")
    assert done.returncode == PREFLIGHT
    found = json.loads(done.stdout)
    assert found["schema"] == 1
    assert "hermez" in found["error"]["message"]
    assert found["error"]["remedy"] == "did you mean `hermes`?"
    nothing_left(home)
