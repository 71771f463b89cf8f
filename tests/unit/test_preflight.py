"""What stands in the way of a start on machines that are not this one."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import plan
from stackctl.checks import preflight, preflight_model
from stackctl.config import Flags
from stackctl.errors import PreflightError
from stackctl.host import GIB
from stackctl.model import Status
from stackctl.paths import StackPaths
from stackctl.planning import Prepared
from stackctl.ports import Ports
from tests.fakes import machines
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from stackctl.host import Host
    from stackctl.model import Finding

MIB = 1024**2


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def prepared(tmp_path: Path, host: Host, **config: Any) -> Prepared:
    file = tmp_path / "given.yaml"
    file.write_text(json.dumps(config))
    given = machines.inputs(Flags(config=str(file)), host)
    return Prepared(given.loaded, host, StackPaths("default"), Ports({}, given.gateway_port), plan.build(given))


def bad(found: Iterable[Finding]) -> list[Finding]:
    return [each for each in found if each.status in {Status.FAIL, Status.WARN}]


def model(tmp_path: Path, size: int) -> str:
    """A checkpoint whose weights are `size` bytes long (sparse, they take no disk) and of an unknown kind."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"architectures": ["TheirsForCausalLM"], "model_type": "theirs"}))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "model.safetensors").touch()
    os.truncate(directory / "model.safetensors", size)
    return str(directory)


def test_a_sound_machine_has_nothing_to_say(tmp_path: Path) -> None:
    made = prepared(
        tmp_path, machines.CPU, engines={"a": {"model": "embedded", "port": free_port()}}, gateway={"port": free_port()}
    )
    assert preflight.run(made, preflight.MACHINE) == []
    assert not (tmp_path / "home").exists()
    preflight.make_directories(made)
    made_now = {str(path.relative_to(tmp_path / "home")) for path in (tmp_path / "home").rglob("*")}
    assert made_now == {"stacks", *(f"stacks/default{each}" for each in ("", "/logs", "/engine", "/gateway"))}
    assert preflight.run(made, preflight.MACHINE) == []  # and again, with the directories there


def test_the_embedded_model_needs_four_gibibytes_that_are_free(tmp_path: Path) -> None:
    low = dataclasses.replace(machines.CPU, memory_available=3 * GIB)
    (found,) = bad(preflight_model.memory(prepared(tmp_path, low)))
    assert found.cause == "the model needs at least 4.0 GiB of memory and 3.0 GiB are free"
    assert found.remedy.startswith("close what holds memory")
    assert bad(preflight_model.memory(prepared(tmp_path, dataclasses.replace(low, memory_available=4 * GIB)))) == []


def on_disk(made: Prepared, directory: str) -> Iterable[Finding]:
    return preflight_model.on_disk(made, made.plan.engine, directory)


def test_weights_larger_than_what_is_free_are_refused_before_they_are_loaded(tmp_path: Path) -> None:
    directory = model(tmp_path, 40 * GIB)
    engines = {"a": {"model": directory}}
    low = dataclasses.replace(machines.CPU, memory_available=30 * GIB)
    for host, where, free in ((low, "of memory", 30.0), (machines.GPU, "of GPU memory", 23.8)):
        found = next(each for each in bad(on_disk(prepared(tmp_path, host, engines=engines), directory)))
        assert found.id == "memory"
        assert f"at least 40.0 GiB {where} and {free} GiB are free" in found.cause
    assert bad(on_disk(prepared(tmp_path, machines.CPU, engines=engines), directory)) == []


def test_a_model_spread_over_two_gpus_may_use_the_memory_of_both(tmp_path: Path) -> None:
    directory = model(tmp_path, 40 * GIB)
    two = dataclasses.replace(machines.CPU, gpus=(machines.RTX4090, dataclasses.replace(machines.RTX4090, index=1)))
    alone = {"a": {"model": directory}}
    both = {"a": {"model": directory, "args": {"tensor-parallel-size": 2}}}
    (found,) = bad(on_disk(prepared(tmp_path, two, engines=alone), directory))
    assert "on 1 of 2 GPUs" in found.cause
    assert bad(on_disk(prepared(tmp_path, two, engines=both), directory)) == []


@pytest.mark.parametrize(("free", "fails"), [(16 * MIB, True), (64 * MIB, False), (None, False)])
def test_shared_memory(tmp_path: Path, free: int | None, fails: bool) -> None:
    host = dataclasses.replace(machines.CPU, shm_free=free)
    found = bad(preflight.shared_memory(prepared(tmp_path, host)))
    assert bool(found) == fails
    if found:
        assert "has only 16 MiB free" in found[0].cause
        assert "--shm-size" in found[0].remedy
    remote = {"attic": {"url": "http://127.0.0.1:9", "model": "m"}}
    assert bad(preflight.shared_memory(prepared(tmp_path, host, engines=remote))) == []


def test_a_gpu_that_is_lost_is_told_and_the_cpu_serves(tmp_path: Path) -> None:
    host = machines.host("driver_broken")
    assert host.gpu_problem
    (found,) = bad(preflight.gpu(prepared(tmp_path, host)))
    assert found.status is Status.WARN
    assert found.cause == f"{host.gpu_problem}: serving on the CPU"
    assert "nvidia-smi" in found.remedy
    assert bad(preflight.gpu(prepared(tmp_path, machines.CPU))) == []


def test_a_port_that_listens_on_all_addresses_is_taken_too(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        engines = {"a": {"model": "embedded", "port": port}}
        (found,) = bad(
            preflight.ports(prepared(tmp_path, machines.CPU, engines=engines, gateway={"port": free_port()}))
        )
    assert f"port {port}, which the engine needs, is held by" in found.cause
    assert f"(pid {os.getpid()})" in found.cause


def test_an_address_of_another_machine_cannot_be_listened_on(tmp_path: Path) -> None:
    gateway = {"host": "192.0.2.1", "allow_remote": True, "port": free_port()}
    engines = {"a": {"model": "embedded", "port": free_port()}}
    (found,) = bad(preflight.ports(prepared(tmp_path, machines.CPU, engines=engines, gateway=gateway)))
    assert "the gateway cannot listen on 192.0.2.1" in found.cause
    assert found.remedy == "set gateway.host to 127.0.0.1, or to an address that this machine has"


def test_direct_needs_one_port_only(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        engines = {"a": {"model": "embedded", "port": server.getsockname()[1]}}
        gateway = {"kind": "direct", "port": free_port()}
        assert bad(preflight.ports(prepared(tmp_path, machines.CPU, engines=engines, gateway=gateway))) == []


def test_a_directory_that_others_prepared_is_found_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "home" / "stacks" / "default").mkdir(parents=True)
    for each in (tmp_path / "home", tmp_path / "home" / "stacks" / "default"):
        each.chmod(0o700)
    made = prepared(tmp_path, machines.CPU)
    (tmp_path / "home" / "stacks" / "default" / "logs").symlink_to(tmp_path)
    with pytest.raises(PreflightError, match="logs is a symbolic link"):
        preflight.run(made)


def test_a_lock_that_is_no_file_is_found_before_anything_else(tmp_path: Path) -> None:
    lock = tmp_path / "home" / "stacks" / "default" / "lock"
    lock.parent.mkdir(parents=True)
    for each in (tmp_path / "home", lock.parent):
        each.chmod(0o700)
    made = prepared(tmp_path, machines.CPU)
    lock.touch()
    assert bad(preflight.directories(made)) == []
    lock.unlink()
    lock.mkdir()
    with pytest.raises(PreflightError, match="lock is not a file"):
        list(preflight.directories(made))


def test_a_providers_key_that_is_not_exported_is_found_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THEIR_KEY", raising=False)
    routes = {"opus": {"hosted": "anthropic/claude-opus-4-8", "api_key": "env/THEIR_KEY"}}
    made = prepared(tmp_path, machines.CPU, routes=routes)
    (found,) = bad(preflight.provider_keys(made))
    assert "the route `opus` takes its provider's key from $THEIR_KEY" in found.cause
    assert found.remedy == "export THEIR_KEY=..."
    monkeypatch.setenv("THEIR_KEY", "x")
    assert bad(preflight.provider_keys(made)) == []
