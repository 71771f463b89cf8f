"""Security drills with stand-ins, by the command line; those on real vLLM and LiteLLM are in tests/e2e."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.fakes.home import Home
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.drill
CANARIES = {
    "HF_TOKEN": "hf_canary-1f6e", "OPENAI_API_KEY": "sk-canary-2f6e", "ANTHROPIC_API_KEY": "sk-ant-canary-3f6e",
    "AWS_SECRET_ACCESS_KEY": "canary-4f6e", "GITHUB_TOKEN": "ghp_canary-5f6e",
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path)
    yield found
    found.close()


def tree(home: Home) -> list[psutil.Process]:
    supervisor = psutil.Process(home.data("status")["supervisor"]["pid"])
    return [supervisor, *supervisor.children(recursive=True)]


def start(home: Home, **extra: str) -> None:
    home.started.append("default")
    home.run("up", "-d", "--yes", "-c", home.config(port=free_port()), expect=0, cwd=None, **extra)


def test_every_socket_is_on_loopback(home: Home) -> None:
    start(home)
    listening = [
        each.laddr.ip for process in tree(home) for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN or each.type.name == "SOCK_DGRAM"
    ]  # fmt: skip
    assert set(listening) == {"127.0.0.1"}
    print(f"drill S1: {len(listening)} sockets of {len(tree(home))} processes, all on 127.0.0.1")


def test_another_address_needs_an_explicit_word(home: Home) -> None:
    file = home.root / "open.yaml"
    for address in ("0.0.0.0", "::", "192.0.2.7"):
        file.write_text(json.dumps({"gateway": {"host": address}}))
        said = home.run("up", "-d", "--yes", "-c", file, expect=2).stderr
        assert "other machines could reach the gateway" in said
        assert "allow_remote" in said
    direct = {"gateway": {"kind": "direct", "host": "0.0.0.0", "allow_remote": True}}
    file.write_text(json.dumps(direct))  # vLLM's unkeyed paths are nobody's business
    home.run("up", "-d", "--yes", "-c", file, expect=2)
    print("drill S2: 4 of 4 refused without gateway.allow_remote; with it the key is asked for (S7)")


def test_no_secret_of_the_user_or_of_the_stack_is_where_others_look(home: Home) -> None:
    start(home, **CANARIES)
    key_file = home.state / "stacks" / "default" / "client.key"
    secrets = {*CANARIES.values(), key_file.read_text().strip()}
    processes = tree(home)
    for each in processes:
        assert not [secret for secret in CANARIES.values() if secret in each.environ().values()], each.name()
    print(f"drill S8: {len(CANARIES)} tokens of the user's shell: 0 in the environments of {len(processes)} processes")
    looked = 0
    for process in psutil.process_iter():
        try:
            words = "\0".join(process.cmdline())
        except psutil.Error:
            continue
        looked += 1
        assert not [secret for secret in secrets if secret in words]
    for path in home.state.rglob("*"):
        if path.is_file() and path != key_file:
            looked += 1
            assert not [secret for secret in secrets if secret.encode() in path.read_bytes()], path
    assert len(secrets) == 6
    print(f"drill S3: {len(secrets)} secrets, {looked} command lines and files: 0 hits")


def test_a_state_directory_that_is_not_ours_alone_is_refused(home: Home, tmp_path: Path) -> None:
    file = home.config(port=free_port())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    home.state.symlink_to(elsewhere)
    refused = [home.run("up", "-d", "--yes", "-c", file, expect=3).stderr]
    assert "symbolic link" in refused[-1]
    home.state.unlink()
    stack = home.state / "stacks" / "default"
    stack.parent.mkdir(parents=True, mode=0o700)
    home.state.chmod(0o700)
    stack.symlink_to(elsewhere)
    refused.append(home.run("up", "-d", "--yes", "-c", file, expect=3).stderr)
    stack.unlink()
    home.state.chmod(0o770)
    refused.append(home.run("up", "-d", "--yes", "-c", file, expect=3).stderr)
    assert "others can write" in refused[-1]
    home.state.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(home.state, 65534, 65534)
        refused.append(home.run("up", "-d", "--yes", "-c", file, expect=3).stderr)
        assert "belongs to uid 65534" in refused[-1]
        os.chown(home.state, 0, 0)
    assert list(elsewhere.iterdir()) == []
    print(f"drill S4: {len(refused)} of {len(refused)} refused, nothing written there")


def test_files_are_private_whatever_the_umask(home: Home) -> None:
    before = os.umask(0)
    try:
        start(home)
    finally:
        os.umask(before)
    looked = 0
    for path in [home.state, *home.state.rglob("*")]:
        mode = path.lstat().st_mode
        looked += 1
        if not stat.S_ISLNK(mode):
            assert not mode & 0o077, f"{path}: {mode:o}"
    print(f"drill S5: umask 000: {looked} files and directories, 0 open to others")


TRAP = "import os\nopen(os.environ.get('TRAP', {file!r}), 'a').write(__name__ + '\\n')\n"
MODULES = (
    "sitecustomize",
    "usercustomize",
    "stackctl",
    "typer",
    "yaml",
    "json",
    "litellm",
    "vllm",
    "uv",
    "psutil",
    "msgspec",
)


def test_what_lies_in_the_users_directory_is_not_read(home: Home) -> None:
    cloned, trapped = home.root / "cloned", home.root / "trapped"
    cloned.mkdir()
    for name in MODULES:
        (cloned / f"{name}.py").write_text(TRAP.format(file=str(trapped)))
    (cloned / ".env").write_text("STACKCTL_MODEL=evil\nSTACKCTL_HOME=/nowhere\nVLLM_API_KEY=evil\n")
    (cloned / "stack.yaml").write_text("engines: {main: {model: x, command: [touch, trapped]}}\n")
    (cloned / "uv.toml").write_text('index-url = "http://127.0.0.1:9/evil"\n')
    file = home.config(port=free_port())
    home.started.append("default")
    home.run("up", "-d", "--yes", "-c", file, cwd=cloned)
    for words in (
        ["status"],
        ["env"],
        ["logs"],
        ["render", "-c", str(file)],
        ["gc", "--dry-run"],
        ["restart", "-c", str(file)],
    ):
        home.run(*words, cwd=cloned)
    for process in tree(home):
        assert process.cwd() != str(cloned)
        assert "evil" not in process.environ().values()
    assert home.run("up", "-d", "--yes", cwd=cloned, expect=2).stderr.count("trust") >= 1
    home.run("down", cwd=cloned)
    assert not trapped.exists(), trapped.read_text()
    assert not (cloned / "trapped").exists()
    assert sys.dont_write_bytecode or not list(cloned.rglob("__pycache__"))
    print(
        f"drill S6: {len(MODULES)} modules, .env, uv.toml and stack.yaml planted: 0 read by 8 commands and their stack"
    )
