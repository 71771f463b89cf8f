"""A user's home with cheap stacks in it: the scripted engine as its own gateway (`direct`), run by the console script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackctl.paths import StackPaths
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "tests" / "fakes" / "engine.py"
STACKCTL = Path(sys.executable).with_name("stackctl")


class Home:
    """`root` has the state directory, the environments' directory and the configurations; nothing is shared."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        self.envs = root / "envs"
        self.started: list[str] = []

    def environment(self, **extra: str) -> dict[str, str]:
        """A shell of this user."""
        through = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "STACKCTL_HOME": str(self.state),
            "STACKCTL_ENVS": str(self.envs),
            **through,
            **extra,
        }

    def argv(self, *words: str | Path) -> list[str]:
        """A command line of stackctl."""
        return [str(STACKCTL), *map(str, words)]

    def run(
        self, *words: str | Path, expect: int = 0, cwd: Path | None = None, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """A command, and the exit code that it must have."""
        done = subprocess.run(
            self.argv(*words), env=self.environment(**extra), cwd=cwd or self.root, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == expect, (done.returncode, done.stderr, done.stdout)
        return done

    def data(self, *words: str | Path, **extra: str) -> Any:
        """What a command says with --json."""
        found = json.loads(self.run(*words, "--json", expect=0, cwd=None, **extra).stdout)
        assert found["schema"] == 1
        return found["data"]

    def config(self, name: str = "default", *, port: int | None = None, kind: str = "direct") -> Path:
        """A configuration of the scripted engine, `direct` without LiteLLM; without a port stackctl finds one itself."""
        script = self.root / f"{name}.script.json"
        script.write_text('{"turns": []}')
        command = [sys.executable, str(ENGINE), "--fake-script", str(script)]
        engine: dict[str, Any] = {"model": "scripted", "max_model_len": 32768, "command": command}
        if kind != "direct":
            engine["port"] = free_port()
        gateway = {"kind": kind, **({} if port is None else {"port": port})}
        file = self.root / f"{name}.yaml"
        file.write_text(json.dumps({"name": name, "engines": {"main": engine}, "gateway": gateway}))
        return file

    def up(self, name: str = "default", *, port: int | None = None, kind: str = "direct") -> dict[str, Any]:
        """Start a stack in the background; what `status --json` says of it."""
        if port is None and name == "default":
            port = free_port()
        file = self.config(name, port=port, kind=kind)
        self.started.append(name)
        self.run("up", "-d", "--yes", "-c", file)
        found = self.data("status", "--name", name)
        assert isinstance(found, dict)
        return found

    def paths(self, name: str = "default") -> StackPaths:
        """The files of a stack; STACKCTL_HOME must be ours."""
        found = StackPaths(name)
        assert found.root.startswith(str(self.state))
        return found

    def close(self) -> None:
        """Stop what was started, whatever became of it."""
        for name in self.started:
            if (self.state / "stacks" / name).is_dir():
                subprocess.run(
                    self.argv("down", "--name", name), env=self.environment(), cwd=self.root, timeout=120, check=False,
                    stdin=subprocess.DEVNULL, capture_output=True,
                )  # fmt: skip


def until(condition: Callable[[], object], within: float, what: str) -> None:
    """Wait for `condition`; it fails after three times `within` seconds, as a loaded machine takes longer."""
    deadline = time.monotonic() + 3 * within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.02)
