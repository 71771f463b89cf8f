"""The second week: keys change, programs are upgraded, stacks live side by side, everything goes again."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from stackctl import __version__, identity
from stackctl.model import Probe
from stackctl.probe import request
from tests.fakes.home import ROOT, STACKCTL, Home
from tests.fakes.ports import free_port

pytestmark = pytest.mark.drill


def _answer(url: str, key: str) -> int:
    return request(Probe(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=5)).status or 0


def _key(home: Home, name: str = "default") -> str:
    exported = home.run("env", "--shell", "dotenv", "--name", name).stdout
    return next(line.partition("=")[2].strip("'\"") for line in exported.splitlines() if "ANTHROPIC_AUTH_TOKEN" in line)


# --- key rotate


def test_a_running_stack_takes_a_new_key_by_a_restart_and_refuses_the_old_one(home: Home) -> None:
    before = home.up()
    old = _key(home)
    assert _answer(before["gateway_url"], old) == 200
    refused = home.run("key", "rotate", "-c", "default.yaml", expect=1)
    assert "nothing was changed" in refused.stderr
    assert "stackctl restart" in refused.stderr
    assert _key(home) == old

    home.run("key", "rotate", "--restart", "-c", "default.yaml")
    after = home.data("status")
    new = _key(home)
    assert new != old
    assert after["supervisor"]["pid"] != before["supervisor"]["pid"]
    assert after["gateway_url"] == before["gateway_url"]
    assert _answer(after["gateway_url"], new) == 200
    assert _answer(after["gateway_url"], old) in {401, 403}


def test_a_new_key_never_changes_what_runs(home: Home) -> None:
    before = home.up()
    old = _key(home)
    home.config(port=before["services"][0]["port"] + 1)  # the file was edited since
    said = home.run("key", "rotate", "--restart", "-c", "default.yaml", expect=1).stderr
    assert "another plan" in said
    assert _key(home) == old
    assert home.data("status")["supervisor"] == before["supervisor"]


def test_the_key_of_a_stopped_stack_is_replaced_at_once(home: Home) -> None:
    home.run("key", "rotate", expect=4)
    home.up()
    home.run("down")
    path = home.state / "stacks" / "default" / "client.key"
    old = path.read_text()
    assert home.data("key", "rotate") == {"name": "default", "restarted": False}
    assert path.read_text() != old
    assert path.stat().st_mode & 0o777 == 0o600


# --- uninstall


def test_uninstall_stops_running_stacks_and_leaves_no_file_and_no_process(home: Home) -> None:
    pids = []
    for name in ("default", "other"):
        data = home.up(name)
        pids += [identity.of(data["supervisor"]["pid"]), *(identity.of(each["pid"]) for each in data["services"])]
    shown = home.run("uninstall", "--dry-run").stderr
    assert "client key" in shown
    assert "together" in shown
    assert home.data("status")["state"] == "ready"
    refused = home.run("uninstall", expect=2)  # nobody is there to be asked
    assert "--yes" in refused.stderr
    assert home.data("status")["state"] == "ready"
    home.run("uninstall", "--yes")
    assert not home.state.exists()
    assert not [each for each in pids if each is not None and identity.alive(each)]
    home.run("down", expect=4)


# --- several stacks


def test_stacks_live_side_by_side_and_keep_their_ports(home: Home) -> None:
    home.run("status", "--all", expect=4)
    first, second, third = home.up(), home.up("second"), home.up("third")
    ports = {each["name"]: each["services"][0]["port"] for each in (first, second, third)}
    assert len(set(ports.values())) == 3
    listed = home.data("status", "--all")["stacks"]
    assert [(each["name"], each["services"][0]["port"]) for each in listed] == sorted(ports.items())
    assert home.run("status", "--all").stderr.count("ready") >= 3

    keys = {name: _key(home, name) for name in ports}
    assert len(set(keys.values())) == 3
    assert _answer(second["gateway_url"], keys["second"]) == 200
    assert _answer(second["gateway_url"], keys["default"]) in {401, 403}

    home.run("down", "--name", "second")
    assert [each["name"] for each in home.data("status", "--all")["stacks"]] == ["default", "third"]
    for each in (first, third):
        assert home.data("status", "--name", each["name"])["supervisor"] == each["supervisor"]
        assert _answer(each["gateway_url"], keys[each["name"]]) == 200
    home.run("status", "--name", "second", expect=4)

    taken = home.run("up", "-d", "--yes", "--name", "second", "-c", home.config(port=ports["third"]), expect=3).stderr
    assert "is held by the stack `third`" in taken
    assert "stackctl down --name third" in taken

    again = home.up("second")
    assert again["services"][0]["port"] == ports["second"]
    assert _key(home, "second") == keys["second"]  # shells that are open go on working


def test_two_new_stacks_at_once_do_not_take_the_same_port(home: Home) -> None:
    names = ("one", "two", "three")
    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(home.up, names))
    assert len({each["gateway_url"] for each in found}) == len(names)
    assert {each["state"] for each in found} == {"ready"}


# --- service


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_hears_of_readiness_and_of_the_end(home: Home, *, abstract: bool) -> None:
    address = f"@stackctl-{os.getpid()}-{home.root.name}" if abstract else str(home.root / "notify")
    said: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address[1:]}" if abstract else address)
        manager.settimeout(60)
        home.started.append("default")
        stack = subprocess.Popen(
            [STACKCTL, "up", "--yes", "-c", home.config(port=free_port())],
            env=home.environment(NOTIFY_SOCKET=address), cwd=home.root, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not said or not said[-1].startswith("READY=1"):
                said.append(manager.recv(4096).decode())
            data = home.data("status")
            assert data["state"] == "ready"
            assert data["supervisor"]["pid"] == stack.pid  # NotifyAccess=main
            assert f"STATUS=ready at {data['gateway_url']}" in said[-1]
            assert "STATUS=engine: starting" in "\n".join(said[:-1])
            with open(f"/proc/{data['services'][0]['pid']}/environ") as environment:
                assert "NOTIFY_SOCKET" not in environment.read()
            stack.terminate()
            while not said[-1].startswith("STOPPING=1"):
                said.append(manager.recv(4096).decode())
            assert stack.wait(60) == 143  # the unit's SuccessExitStatus
        finally:
            stack.kill()
            stack.wait(60)
    assert sum(each.startswith("READY=1") for each in said) == 1


def test_a_service_manager_that_is_gone_holds_nothing_up(home: Home) -> None:
    home.started.append("default")
    stack = subprocess.Popen(
        [STACKCTL, "up", "--yes", "-c", home.config(port=free_port())],
        env=home.environment(NOTIFY_SOCKET=str(home.root / "nobody")), cwd=home.root, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert stack.stdout is not None
        assert b"export" in stack.stdout.readline()
        stack.terminate()
        assert stack.wait(60) == 143
    finally:
        stack.kill()
        stack.communicate(timeout=60)


# --- another version


def _other_version(home: Home, schema: int) -> subprocess.Popen[bytes]:
    """A supervisor of a stackctl whose state has another schema: a copy of the package, running in the foreground."""
    other = home.root / "other"
    for each in ("stackctl", "templates"):
        shutil.copytree(ROOT / each, other / each, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in (
        ("runstate/records.py", "SCHEMA = 1\n", f"SCHEMA = {schema}\n"),
        ("__init__.py", f'"{__version__}"', '"9.9.9"'),
    ):
        file = other / "stackctl" / name
        changed = file.read_text().replace(old, new)
        assert changed != file.read_text()
        file.write_text(changed)
    code = f"import sys; sys.path.insert(0, {str(other)!r}); from stackctl.__main__ import main; main()"
    home.started.append("default")
    stack = subprocess.Popen(
        [sys.executable, "-c", code, "up", "--yes", "-c", home.config(port=free_port())], env=home.environment(),
        cwd=home.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert stack.stdout is not None
    assert b"export" in stack.stdout.readline()
    return stack


@pytest.mark.parametrize("schema", [0, 2])
def test_a_stack_of_another_version_is_left_running_until_a_restart(home: Home, schema: int) -> None:
    stack = _other_version(home, schema)
    try:
        file = home.state / "stacks" / "default" / "state.json"
        state = json.loads(file.read_text())
        assert (state["schema"], state["stackctl"]) == (schema, "9.9.9")
        for command in ("status", "up -d --yes", "env --shell sh", "key rotate --restart"):
            config = [] if command == "status" else ["-c", "default.yaml"]
            said = home.run(*command.split(), *config, expect=1).stderr
            assert "another version of stackctl (9.9.9;" in said, command
            assert "stackctl restart" in said, command
        assert "9.9.9" in home.run("status", "--all").stderr
        assert stack.poll() is None
        assert json.loads(file.read_text())["supervisor"] == state["supervisor"]
        assert not list(file.parent.glob("*.corrupt-*"))

        home.run("restart", "-c", "default.yaml")
        assert stack.wait(60) == 143
        assert home.data("status")["state"] == "ready"
        assert json.loads(file.read_text())["schema"] == 1
    finally:
        stack.kill()
        stack.communicate(timeout=60)


def test_what_a_killed_supervisor_of_another_version_left_is_removed(home: Home) -> None:
    stack = _other_version(home, 2)
    root = home.state / "stacks" / "default"
    engine = identity.of(json.loads((root / "state.json").read_text())["services"][0]["pid"])
    stack.kill()
    stack.communicate(timeout=60)
    home.run("down")
    assert engine is not None
    assert not identity.alive(engine)
    assert not (root / "state.json").exists()
    assert home.run("status", expect=4).stderr.count("not running") == 1
