"""Drill 28: an upgrade makes new environments beside the old, proves them, switches, goes back; killed, it harms nothing.

What is installed is a copy of stackctl whose lock names a small LiteLLM, made on the spot; uv, the supervisor and the
trial are the real ones.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from stackctl.model import Probe
from stackctl.probe import request
from tests.fakes import stack, wheels
from tests.fakes.home import ROOT, Home, until
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]

OLD, NEW, BROKEN = "1.106.2", "1.106.3", "1.106.4"
STEPS = (
    "keeping what is in use",
    f"Installing litellm {NEW}",
    f"litellm {NEW} is installed",
    "proving them",
    "gateway  starting",
    "a real token came through the gateway",
    "switching",
    "switched to",
)


class Installed(Home):
    """A user's home with a copy of stackctl, whose version of LiteLLM can be changed as an upgrade of it would."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.package = root / "installed"
        for each in ("stackctl", "templates"):
            shutil.copytree(ROOT / each, self.package / each, ignore=shutil.ignore_patterns("__pycache__"))
        self._hashes = {each: wheels.litellm(root, each, works=each != BROKEN) for each in (OLD, NEW, BROKEN)}
        self._version = OLD
        self.offer(OLD)

    def offer(self, version: str) -> None:
        """Have this stackctl be one that was tested with `version`."""
        (self.package / "stackctl/locks/gateway.txt").write_text(
            f"litellm=={version} --hash=sha256:{self._hashes[version]}\n"
        )
        file = self.package / "stackctl/toolchain/builds.py"
        changed = file.read_text().replace(f'version="{self._version}"', f'version="{version}"')
        file.write_text(changed)
        self._version = version

    def environment(self, **extra: str) -> dict[str, str]:
        sources = {
            "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.root / "wheels"),
            "UV_CACHE_DIR": str(self.root / "cache"),
        }  # fmt: skip
        return super().environment(**sources, **extra)

    def argv(self, *words: str | Path) -> list[str]:
        code = f"import sys; sys.path.insert(0, {str(self.package)!r}); sys.argv[0] = 'stackctl'; from stackctl.__main__ import main; main()"
        return [sys.executable, "-c", code, *map(str, words)]

    def gateway_version(self) -> str:
        url = self.data("status")["gateway_url"]
        return request(Probe(f"{url}/version", timeout=5)).body.decode()

    def environments(self) -> list[str]:
        """The versions that are installed whole."""
        return sorted(each.name.split("-")[2] for each in self.envs.iterdir() if (each / "stackctl-env.json").exists())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    found = Installed(tmp_path)
    found.config(port=free_port(), kind="litellm")
    monkeypatch.setenv("STACKCTL_HOME", str(found.state))
    found.started.append("default")
    yield found
    found.close()


def test_an_upgrade_is_proved_switched_to_and_gone_back_from(home: Installed) -> None:
    home.run("up", "-d", "--yes", "-c", "default.yaml")
    assert home.gateway_version() == OLD
    assert "nothing to upgrade" in home.run("upgrade", "-c", "default.yaml").stderr
    refused = home.run("upgrade", "--back", "-c", "default.yaml", expect=1)
    assert "no earlier environment" in refused.stderr

    home.offer(NEW)
    shown = home.run("upgrade", "--dry-run", "-c", "default.yaml").stderr
    assert f"litellm {OLD} -> litellm {NEW}" in shown
    assert home.environments() == [OLD]
    before = home.data("status")["supervisor"]
    began = time.monotonic()
    home.run("upgrade", "--yes", "-c", "default.yaml")
    print(f"drill +: upgrade beside a running stack: proved and switched after {time.monotonic() - began:.1f} s")
    assert home.data("status")["supervisor"] == before  # the stack that ran was left alone
    assert home.gateway_version() == OLD
    assert sorted(os.listdir(home.state / "stacks")) == ["default"]
    assert "nothing to upgrade" in home.run("upgrade", "-c", "default.yaml").stderr

    home.run("restart", "-c", "default.yaml")
    assert home.gateway_version() == NEW
    shown = home.run("gc", "--dry-run").stderr
    assert "environment before upgrade" in shown
    assert f"litellm-{OLD}" in shown

    shown = home.run("upgrade", "--back", "--dry-run", "-c", "default.yaml").stderr
    assert f"litellm {NEW} -> litellm {OLD}" in shown
    assert "nothing to upgrade" in home.run("upgrade", "-c", "default.yaml").stderr  # the new one is still in use
    home.run("upgrade", "--back", "-c", "default.yaml")
    home.run("restart", "-c", "default.yaml")
    assert home.gateway_version() == OLD
    assert f"litellm-{OLD}" not in home.run("gc", "--dry-run").stderr  # it is in use again
    home.run("down")
    said = home.run("up", "-d", "--yes", "-c", "default.yaml").stderr
    assert f"litellm {NEW}, tested with this version, waits" in said
    home.run("down")
    home.run("upgrade", "--yes", "-c", "default.yaml")
    assert home.run("gc", "--yes").stderr.count("removed") == 1
    assert home.environments() == [NEW]
    assert "no earlier environment" in home.run("upgrade", "--back", "-c", "default.yaml", expect=1).stderr


def test_a_new_version_that_does_not_work_is_not_switched_to(home: Installed) -> None:
    home.run("up", "-d", "--yes", "-c", "default.yaml")
    home.run("down")
    home.offer(BROKEN)
    refused = home.run("upgrade", "--yes", "-c", "default.yaml", expect=1).stderr
    assert "were not switched to, the old ones stay in use" in refused
    assert "this version is broken" in refused
    assert sorted(os.listdir(home.state / "stacks")) == ["default"]
    home.run("up", "-d", "--yes", "-c", "default.yaml")
    assert home.gateway_version() == OLD


def test_a_new_stackctl_starts_with_the_environments_that_are_there(home: Installed) -> None:
    home.run("up", "-d", "--yes", "-c", "default.yaml")
    home.run("down")
    home.offer(NEW)
    said = home.run("up", "-d", "--yes", "-c", "default.yaml").stderr
    assert home.gateway_version() == OLD
    assert "stackctl upgrade" in said
    assert home.environments() == [OLD]


def test_an_upgrade_killed_at_each_step_leaves_the_old_stack_startable(home: Installed) -> None:
    home.run("up", "-d", "--yes", "-c", "default.yaml")
    home.run("down")
    home.offer(NEW)
    for step in STEPS:
        for each in home.envs.glob(f"*{NEW}*"):
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        (home.state / "environments.json").unlink(missing_ok=True)
        with subprocess.Popen(
            home.argv("upgrade", "--yes", "-c", "default.yaml"), env=home.environment(), cwd=home.root,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as upgrading:  # fmt: skip
            assert upgrading.stderr is not None
            seen = []
            for line in upgrading.stderr:
                seen.append(line)
                if step in line:
                    break
            upgrading.send_signal(signal.SIGKILL)
            assert step in seen[-1], seen
        until(
            lambda: not [each for each in stack.leftovers(home.state) if each.startswith("process")],
            10,
            f"nothing runs: {step}",
        )
        home.run("up", "-d", "--yes", "-c", "default.yaml")
        wanted = {NEW} if step == "switched to" else {OLD, NEW} if step == "switching" else {OLD}
        used = home.gateway_version()
        assert used in wanted, step
        home.run("down")
        if used == OLD:  # once it has switched, `gc` takes the old ones
            home.run("gc", "--yes")  # what was left of the trial goes
            assert sorted(os.listdir(home.state / "stacks")) == ["default"]
    print(f"drill 28: killed at {len(STEPS)} steps: the old stack starts after each, 0 processes left")
    kept = json.loads((home.state / "environments.json").read_text())["chosen"]["gateway-litellm"]
    assert OLD in kept["before"]
