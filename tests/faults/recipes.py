"""What a file or a variable cannot break: small recipes, each named in a row's `do`. They take the case and its `given`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from stackctl import toolchain
from stackctl.model import ServiceKind
from stackctl.toolchain.builds import build_for
from stackctl.toolchain.environment import environment_path
from tests.fakes import between as fakes_between
from tests.fakes import nvml, stack
from tests.fakes.ports import free_port
from tests.faults import checkpoints, real_claude

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.case import Case


def hold_port(case: Case, given: dict[str, Any]) -> None:
    """Another program listens on a port of the configuration (`word` names it)."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", int(case.words[given["word"]])))
    holder.listen()
    case.after.callback(holder.close)


def limit(case: Case, given: dict[str, Any]) -> None:
    """A limit of the shell (`ulimit`)."""
    case.prefix = ["/bin/sh", "-c", f'ulimit {given["is"]}; exec "$@"', "sh"]


def within(case: Case, given: dict[str, Any]) -> None:
    """Doctor runs where `mounts` (words of mount(8), below a root of its own) lie over the machine's own files."""
    mounts = [shlex.join(["mount", *map(case.fill, each)]) for each in given["mounts"]]
    case.prefix = ["unshare", "--mount", "--map-root-user", "sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh"]
    if given.get("localhost"):
        case.env["ANTHROPIC_BASE_URL"] = case.env["ANTHROPIC_BASE_URL"].replace("127.0.0.1", "localhost")


def small_disk(case: Case, given: dict[str, Any]) -> None:
    """The state directory is a disk of `size` MiB, with `old` MiB of a log of last year and `film` MiB of the user's."""
    logs = case.stack_root / "logs"
    case.state.mkdir()
    options = f"size={given['size']}m,mode=700,uid={os.getuid()}"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "stackctl", str(case.state)], check=True, capture_output=True
    )
    case.after.callback(subprocess.run, ["umount", "--lazy", str(case.state)], check=False, capture_output=True)
    for each in (case.state / "stacks", case.stack_root, logs):
        each.mkdir(mode=0o700)
    for file, size in ((logs / "engine.log", given.get("old", 0)), (case.state / "film.mkv", given["film"])):
        with file.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(1, size << 20))
    os.utime(logs / "engine.log", (1.7e9, 1.7e9))
    case.proof = (case.state / "film.mkv").exists


def dated(case: Case, given: dict[str, Any]) -> None:
    """A file of the stack's was written so many `days` from now, by this machine's clock."""
    at = time.time() + given["days"] * 86400
    os.utime(case.stack_root / given["file"], (at, at))


def connected(case: Case, given: dict[str, Any]) -> None:
    """The engine has a connection to a server of this machine that is none of the stack's, at an address of the network's."""
    own = next(
        each.address
        for row in psutil.net_if_addrs().values()
        for each in row
        if each.family == socket.AF_INET and not each.address.startswith("127.")
    )
    server = case.after.enter_context(socket.create_server((own, 0)))
    stack.ask(f"{case.words['engine']}/fake/faults", {"faults": [f"connected={own}/{server.getsockname()[1]}"]})
    case.after.callback(server.accept()[0].close)


def old_driver(case: Case, given: dict[str, Any]) -> None:
    """A GPU whose driver is of this `driver` version."""
    case.env["LD_LIBRARY_PATH"] = str(nvml.library(case.root / "lib", str(given["driver"])))


def state_link(case: Case, given: dict[str, Any]) -> None:
    """The state directory is a symbolic link."""
    real = case.root / "elsewhere"
    real.mkdir()
    case.state.symlink_to(real)


def state_mode(case: Case, given: dict[str, Any]) -> None:
    """The state directory has another mode."""
    case.state.mkdir()
    case.state.chmod(int(given["mode"], 8))


def state_file(case: Case, given: dict[str, Any]) -> None:
    """The state directory is a file."""
    case.state.write_text("not a directory")


def in_directory(case: Case, given: dict[str, Any]) -> None:
    """The configuration is found in the working directory, and nobody has trusted it."""
    case.config = None


def config_is_directory(case: Case, given: dict[str, Any]) -> None:
    """The shell names the directory that the configuration is in."""
    assert case.config is not None
    place = case.root / "desk"
    place.mkdir()
    case.config = case.config.rename(place / case.config.name).parent
    _named_by_the_shell(case)


def config_misspelt(case: Case, given: dict[str, Any]) -> None:
    """The shell names the configuration with a slip of the pen."""
    assert case.config is not None
    case.config = case.config.with_name("stakc.yaml")
    _named_by_the_shell(case)


def config_gone(case: Case, given: dict[str, Any]) -> None:
    """The configuration that the shell names is not there; one named on the command line would be a usage error."""
    assert case.config is not None
    case.config.unlink()
    _named_by_the_shell(case)


def _named_by_the_shell(case: Case) -> None:
    case.env["STACKCTL_CONFIG"] = str(case.config)
    case.config = None


def config_bytes(case: Case, given: dict[str, Any]) -> None:
    """The configuration is not UTF-8."""
    assert case.config is not None
    case.config.write_bytes(case.config.read_bytes() + b"# caf\xe9\n")


# --- environments


def environment(case: Case, given: dict[str, Any]) -> None:
    """A copy of the managed environment `kind`, broken by `given`: files that are `add`ed (text by path below
    site-packages), distributions `gone`, at another `version`, packages' directories `emptied`, no `marker`, no `python`.
    """
    kind = ServiceKind(given["kind"])
    tool = toolchain.locate(kind, configured_python=None, accelerator="cpu")
    real = Path(tool.python).parents[1]
    envs = case.root / "envs"
    copy = envs / real.name
    _linked(real, copy)
    for each in real.parent.iterdir():  # what is not broken is shared
        if each.name not in {real.name, f"{real.name}.lock"}:
            (envs / each.name).symlink_to(each)
    case.env["STACKCTL_ENVS"] = str(envs)
    site = next((copy / "lib").glob("python*/site-packages"))
    for name, text in given.get("add", {}).items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    for name in given.get("gone", []):
        for each in [*site.glob(f"{name}-*.dist-info"), site / name]:
            _remove(each)
    for name, version in given.get("version", {}).items():
        old = next(site.glob(f"{name}-*.dist-info"))
        _remove(old)
        _distribution(site, name, version)
    for name, version in given.get("also", {}).items():
        _distribution(site, name, version)
    for name in given.get("emptied", []):
        _remove(site / name)
        (site / name).mkdir()
    if given.get("marker"):
        (copy / "stackctl-env.json").unlink()
        (copy / "stackctl-env.json").write_text(given["marker"])
    if given.get("python"):
        for each in (copy / "bin").glob("python*"):
            each.unlink()
            each.symlink_to("/usr/lib/python-that-was-upgraded/bin/python3")


def _linked(real: Path, copy: Path) -> None:
    """The environment with every entry of site-packages a link: as good as a copy, and made in a blink."""
    copy.mkdir(parents=True)
    for each in real.iterdir():
        if each.name not in {"lib", "lib64"}:
            (shutil.copytree if each.is_dir() else shutil.copy2)(each, copy / each.name, **({"symlinks": True} if each.is_dir() else {"follow_symlinks": False}))  # type: ignore[arg-type]  # fmt: skip
    site = next((real / "lib").glob("python*/site-packages"))
    target = copy / site.relative_to(real)
    target.mkdir(parents=True)
    for each in site.iterdir():
        (target / each.name).symlink_to(each)
    (copy / "lib64").symlink_to("lib")
    (copy.parent / f"{copy.name}.lock").touch()


def _distribution(site: Path, name: str, version: str) -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def environment_absent(case: Case, given: dict[str, Any]) -> None:
    """An install that was killed half-way: the directory is there, and nothing says that it is whole."""
    build = build_for(ServiceKind(given["kind"]), "cpu")
    real = Path(toolchain.locate(ServiceKind(given["kind"]), configured_python=None, accelerator="cpu").python)
    root = Path(environment_path(build, real.parents[1].name.rpartition("-py")[2]))
    envs = case.root / "envs"
    (envs / root.name / "bin").mkdir(parents=True)
    for each in real.parents[2].iterdir():
        if each.name not in {root.name, f"{root.name}.lock"}:
            (envs / each.name).symlink_to(each)
    case.env["STACKCTL_ENVS"] = str(envs)


# --- models


def model(case: Case, given: dict[str, Any]) -> None:
    """The model on disk: files `gone`, `cut` to so many bytes, or with another `text`; `config` laid over its own, keys
    of the tokenizer's configuration `without`, and a `template`. In the hub's cache: the content of links `cleared` away,
    half a download (`half`), or no listing of the repository (`unlisted`), as older programs leave it.
    """
    place = Path(case.words["model"])
    for name in given.get("cleared", []):
        (place / name).resolve().unlink()
    if "half" in given:
        blob = (place / given["half"]).resolve()
        (place / given["half"]).unlink()
        blob.rename(f"{blob}.1a2b.incomplete")
    if given.get("unlisted"):
        shutil.rmtree(place.parents[1] / "trees")
    for name in given.get("gone", []):
        (place / name).unlink()
    for name, size in given.get("cut", {}).items():
        (place / name).write_bytes((place / name).read_bytes()[:size])
    for name, text in given.get("text", {}).items():
        (place / name).write_text(text)
    if "config" in given:
        found = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps(found | given["config"]))
    tokens = place / "tokenizer_config.json"
    if tokens.exists() and {"without", "template"} & given.keys():
        found = json.loads(tokens.read_text())
        for name in given.get("without", []):
            found.pop(name)
        if "template" in given:
            found["chat_template"] = given["template"]
        tokens.write_text(json.dumps(found))


def large_model(case: Case, given: dict[str, Any]) -> None:
    """A model far above what the machine has; its weights are a hole in the disk."""
    shape = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 160, "vocab_size": 128256}
    shape |= {"num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128}
    model(case, {"config": shape})
    checkpoints.weights(Path(case.words["model"]) / "model.safetensors", 280 << 30)


# --- what runs


def services(case: Case) -> list[dict[str, Any]]:
    """What `status --json` says of the services."""
    done = case.run("status", "--json")
    found = json.loads(done.stdout)["data"]["services"]
    assert isinstance(found, list)
    return found


def signal_service(case: Case, given: dict[str, Any]) -> None:
    """A signal to a process of a service (`kind`): its leader, or the child of which `child` is the number."""
    pid = next(each["pid"] for each in services(case) if each["kind"] == given["kind"])
    process = psutil.Process(pid)
    if "child" in given:
        process = process.children(recursive=True)[given["child"]]
    process.send_signal(getattr(signal, given["signal"]))
    if given["signal"] == "SIGSTOP":
        _stopped(case, process)


def stop_supervisor(case: Case, given: dict[str, Any]) -> None:
    """The supervisor is stopped, as by Ctrl-Z."""
    del given
    process = psutil.Process(json.loads((case.stack_root / "state.json").read_text())["supervisor"]["pid"])
    process.suspend()
    _stopped(case, process)


def _stopped(case: Case, process: psutil.Process) -> None:
    _until(lambda: process.status() == psutil.STATUS_STOPPED)
    case.after.callback(_resume, process)


def _resume(process: psutil.Process) -> None:
    if process.is_running():
        process.resume()


def kill_supervisor(case: Case, given: dict[str, Any]) -> None:
    """The supervisor is killed, with its guards when `all` says so; what it started may live on."""
    state = json.loads((case.stack_root / "state.json").read_text())
    pids = [state["supervisor"]["pid"]]
    if given.get("all"):
        pids += [each["guard"]["pid"] for each in state["services"]]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        _until(lambda pid=pid: _gone(pid))  # type: ignore[misc]
    if not given.get("all"):
        live = [each["pid"] for each in state["services"]]
        _until(lambda: all(map(_gone, live)))


def _gone(pid: int) -> bool:
    """It may be a zombie for good: not every first process of a container reaps."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def spoil(case: Case, given: dict[str, Any]) -> None:
    """A file of the stack's: `text`, `cut`, `gone`, or another `mode`; `dead`: the machine had gone down (what runs would
    write its state again).
    """
    if given.get("dead"):
        kill_supervisor(case, {})
    file = case.stack_root / given["file"]
    if given.get("gone"):
        file.unlink()
    if "cut" in given:
        file.write_bytes(file.read_bytes()[: given["cut"]])
    if "text" in given:
        file.write_text(case.fill(given["text"]))
    if "add" in given:
        file.write_text(file.read_text() + given["add"])
    if "swap" in given:
        old, new = given["swap"]
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
    if "mode" in given:
        file.chmod(int(given["mode"], 8))


def asked(case: Case, given: dict[str, Any]) -> None:
    """A client asks the same so many `times` (or each time something else: `other`) while the engine has the faults of `while`, and it is noted."""
    record = case.stack_root / "logs" / "requests.jsonl"
    before = record.read_text().count("\n") if record.exists() else 0
    stack.ask(f"{case.words['engine']}/fake/faults", {"faults": given["while"]})
    for number in range(given["times"]):
        words = f"hello {number if given.get('other') else ''}"
        body = {
            "model": stack.ALIAS,
            "max_tokens": 64,
            "stream": True,
            "messages": [{"role": "user", "content": words}],
        }
        with contextlib.suppress(http.client.HTTPException):  # an answer that is cut
            stack.ask(f"{case.words['url']}/v1/messages", body, key=case.words["key"])
    stack.ask(f"{case.words['engine']}/fake/faults", {"faults": []})
    _until(lambda: record.exists() and record.read_text().count("\n") >= before + given["times"])


def reconfigure(case: Case, given: dict[str, Any]) -> None:
    """The configuration is changed after the stack was started: `add`, `swap`, or other `ports`."""
    assert case.config is not None
    text = case.config.read_text()
    if given.get("ports"):
        text = re.sub(r"(?<=port: )\d+", lambda _: str(free_port()), text)
        given = {"swap": ["", ""]}
    case.config.write_text(text + given["add"] if "add" in given else text.replace(*given["swap"]))


def _until(condition: Callable[[], object], within: float = 90.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- clients


def program(case: Case, given: dict[str, Any]) -> None:
    """A program of this `name` goes first on the PATH, and does what `script` says."""
    place = case.root / "bin"
    place.mkdir(exist_ok=True)
    file = place / given["name"]
    file.write_text(f"#!/bin/sh\n{case.fill(given['script'])}\n")
    file.chmod(0o755)
    case.path = f"{place}{os.pathsep}{os.environ['PATH']}"


def npm_claude(case: Case, given: dict[str, Any]) -> None:
    """Claude Code of another `version`, as npm installs it."""
    package = case.root / "npm" / "lib" / "node_modules" / "@anthropic-ai" / "claude-code"
    package.mkdir(parents=True)
    (package / "package.json").write_text(
        json.dumps({"name": "@anthropic-ai/claude-code", "version": str(given["version"])})
    )
    (package / "cli.js").write_text("#!/usr/bin/env sh\n")
    (package / "cli.js").chmod(0o755)
    place = case.root / "npm" / "bin"
    place.mkdir()
    (place / "claude").symlink_to("../lib/node_modules/@anthropic-ai/claude-code/cli.js")
    case.path = f"{place}{os.pathsep}{os.environ['PATH']}"


def no_node(case: Case, given: dict[str, Any]) -> None:
    """Claude Code is there as npm installs it, and Node.js is not on the PATH."""
    npm_claude(case, given)
    program = case.root / "npm" / "lib" / "node_modules" / "@anthropic-ai" / "claude-code" / "cli.js"
    program.write_text("#!/usr/bin/env node\n")
    case.path = str(case.root / "npm" / "bin")


def odd_driver(case: Case, given: dict[str, Any]) -> None:
    """The library of NVIDIA's driver is there, and is none (a driver that was updated, and not loaded yet)."""
    place = case.root / "lib"
    place.mkdir()
    maps = Path("/proc/self/maps").read_text().split()
    (place / "libnvidia-ml.so.1").symlink_to(next(each for each in maps if "/libm.so" in each or "/libm-" in each))
    case.env["LD_LIBRARY_PATH"] = str(place)


claude_code = real_claude.fails


def other_server(case: Case, given: dict[str, Any]) -> None:
    """The shell points at a server that lives and is not the stack's gateway."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    holder.listen()
    case.after.callback(holder.close)
    case.env["ANTHROPIC_BASE_URL"] = f"http://127.0.0.1:{holder.getsockname()[1]}"


def series(case: Case, given: dict[str, Any]) -> None:
    """Doctor is pointed at what stands behind the gateway as if it were another one."""
    case.args += ["--url", f"{case.words['url']}"]


def between(case: Case, given: dict[str, Any]) -> None:
    """A reverse proxy stands before what doctor is pointed at."""
    at = case.args.index("--url") + 1
    case.args[at] = case.after.enter_context(fakes_between.proxy(case.args[at], **given))


def listens_at(case: Case, given: dict[str, Any]) -> None:
    """What doctor is pointed at listens at `host` alone, and doctor is given 127.0.0.1."""
    at = case.args.index("--url") + 1
    case.args[at] = fakes_between.astray(case.after.enter_context(fakes_between.proxy(case.args[at], **given)))


def dead_address(case: Case, given: dict[str, Any]) -> None:
    """The address that doctor is given has nobody behind it."""
    case.args = ["--url", f"http://127.0.0.1:{free_port()}"]


def no_exports(case: Case, given: dict[str, Any]) -> None:
    """A shell in which nothing was exported."""
    case.env = {
        name: value for name, value in case.env.items() if not name.startswith(("ANTHROPIC_", "CLAUDE_", "API_"))
    }


def unset(case: Case, given: dict[str, Any]) -> None:
    """A shell in which these variables are missing."""
    for name in given["names"]:
        case.env.pop(name, None)
