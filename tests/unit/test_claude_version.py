"""Which Claude Code is on PATH decides the name that it is given: for old versions one that does not begin with `claude`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stackctl.clients import claude, claude_version
from tests.fakes import stubclients

if TYPE_CHECKING:
    from pathlib import Path

FACTS = {"url": "http://127.0.0.1:4000", "model": "claude-local", "served": "m", "window": 65536, "output_limit": 1024}


def npm(root: Path, version: str, *, program: str, name: str = "@anthropic-ai/claude-code") -> Path:
    """As npm installs it: a link in a directory of programs to a file in the package."""
    package = root / "lib" / "node_modules" / "@anthropic-ai" / "claude-code"
    (package / program).parent.mkdir(parents=True)
    (package / program).write_text("#!/bin/sh\n")
    (package / program).chmod(0o755)
    (package / "package.json").write_text(json.dumps({"name": name, "version": version}))
    (root / "bin").mkdir()
    (root / "bin" / "claude").symlink_to(package / program)
    return root / "bin"


@pytest.mark.parametrize("program", ["cli.js", "bin/claude.exe"])
def test_the_version_of_npms_is_read_without_starting_it(tmp_path: Path, program: str) -> None:
    path = npm(tmp_path, "2.1.197", program=program)
    assert claude_version.installed({"PATH": f"{tmp_path}:{path}:/usr/bin"}) == (2, 1, 197)


def test_others_behind_the_one_that_is_run_are_told_apart(tmp_path: Path) -> None:
    old, new = (
        npm(tmp_path / name, version, program="cli.js") for name, version in (("a", "1.0.35"), ("b", "2.1.330"))
    )
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "claude").symlink_to(old / "claude")
    shell = {"PATH": f"{old}:{tmp_path / 'links'}:{new}"}
    assert claude_version.behind(shell) == [f"{new}/claude 2.1.330"]
    assert claude_version.behind({"PATH": str(old)}) == []


def test_the_native_installers_is_in_the_files_name(tmp_path: Path) -> None:
    program = tmp_path / "versions" / "2.1.290"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    (tmp_path / "claude").symlink_to(program)
    assert claude_version.installed({"PATH": str(tmp_path)}) == (2, 1, 290)


def test_where_nothing_shows_it_nothing_is_claimed(tmp_path: Path) -> None:
    assert claude_version.installed({}) is None
    assert claude_version.installed({"PATH": str(tmp_path)}) is None
    assert claude_version.installed({"PATH": str(npm(tmp_path / "a", "2.1.0", program="x", name="other"))}) is None
    assert claude_version.installed({"PATH": str(npm(tmp_path / "b", "no version", program="x"))}) is None


@pytest.mark.parametrize(
    ("version", "model"),
    [
        ((2, 1, 150), "claude-local"),
        ((2, 1, 193), "anthropic-local"),
        ((2, 1, 324), "anthropic-local"),
        ((2, 1, 325), "claude-local"),
        (None, "claude-local"),
    ],
)
def test_the_name_for_a_version(version: tuple[int, ...] | None, model: str) -> None:
    adapted = claude.adapt(FACTS, version)
    assert adapted["model"] == model
    assert claude.environment(adapted, None, {})["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == model
    assert FACTS["model"] == "claude-local"


def test_env_gives_the_name_for_the_version_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    stubclients.say_running(tmp_path)
    for version, model in (("2.1.197", "anthropic-local"), ("2.1.330", "claude-local")):
        path = f"{npm(tmp_path / version, version, program='cli.js')}:/usr/bin:/bin"
        done = subprocess.run(
            [sys.executable, "-m", "stackctl", "env", "--shell", "json"],
            env={"PATH": path, "HOME": str(tmp_path), "STACKCTL_HOME": str(tmp_path / "state")},
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout)["data"]["env"]["ANTHROPIC_MODEL"] == model
