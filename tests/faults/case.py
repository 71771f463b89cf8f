"""One user with one broken stack: directories of its own, and `stackctl` as that user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes import stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_THROUGH = ("COVERAGE_", "PIP_", "SSL_CERT", "UV_")
CROWDED = 1.0  # seconds: a run that takes longer on a machine with more to do than processors counts by its own work
LIMIT = 180.0  # seconds for one command of the product


@dataclass
class Case:
    """`root` holds the home, the working directory and (unless shared) the state; `words` fill texts.

    `proof` is what must be true after a repair beside what doctor says; `again` starts the user's own server anew, which
    doctor may not.
    """

    root: Path
    state: Path
    config: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    args: list[str] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    after: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    prefix: list[str] = field(default_factory=list)
    path: str = ""
    proof: Callable[[], bool] = lambda: True
    again: Callable[[], None] | None = None
    mended: dict[str, str] | None = None

    def __post_init__(self) -> None:
        self.after.callback(shutil.rmtree, self.root, ignore_errors=True)
        for each in (self.home, self.project):
            each.mkdir(parents=True, exist_ok=True)
        self.words |= {
            "root": str(self.root),
            "home": str(self.home),
            "project": str(self.project),
            "state": str(self.state),
        }

    @property
    def home(self) -> Path:
        """The user's."""
        return self.root / "home"

    @property
    def project(self) -> Path:
        """Where doctor is called."""
        return self.root / "project"

    @property
    def stack_root(self) -> Path:
        """State, logs and rendered files of the stack."""
        return self.state / "stacks" / "default"

    def fill(self, text: str) -> str:
        """`text` with `{word}`s of this case."""
        for name, value in self.words.items():
            text = text.replace("{" + name + "}", value)
        return text

    def environment(self) -> dict[str, str]:
        """This user's shell: as it was broken, or as it is since it evaluated what doctor printed."""
        if self.mended is not None:
            return self.mended
        return {
            "PATH": self.path or os.environ["PATH"],
            "HOME": str(self.home),
            "STACKCTL_HOME": str(self.state),
            "STACKCTL_ENVS": os.environ["STACKCTL_ENVS"],
            "UV_CACHE_DIR": str(self.root.parent / "uv"),  # an environment that is made again is not fetched again
            **{name: value for name, value in os.environ.items() if name.startswith(_THROUGH)},
            **self.env,
        }

    def run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command of the product."""
        return subprocess.run(
            [*self.prefix, *stack.argv(*words)], env=self.environment(), cwd=cwd or self.project,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip

    def evaluate(self, *more: str) -> None:
        """`eval "$(stackctl doctor --fix --shell sh)"` in a real shell, whose environment is this user's from then on."""
        fix = [*self.prefix, *stack.argv(*self._words("doctor", "--fix", "--yes", "--shell", "sh", *self.args, *more))]
        done = subprocess.run(
            ["sh", "-c", 'eval "$("$@")"; exec env -0', "sh", *fix], env=self.environment(), cwd=self.project,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=True,
        )  # fmt: skip
        found = os.fsdecode(done.stdout).removesuffix("\0").split("\0")
        self.mended = dict(each.split("=", 1) for each in found)

    def _words(self, *words: str) -> list[str]:
        named = self.config is not None and "-c" not in words and "--url" not in words
        return [*words, "-c", str(self.config)] if named else [*words]

    def doctor(self, *more: str) -> Report:
        """What doctor says, and how long it took."""
        words = self._words("doctor", "--json", *self.args, *more)
        used, began = _used(), time.monotonic()
        done = self.run(*words)
        seconds = time.monotonic() - began
        if seconds > CROWDED and os.getloadavg()[0] > (os.cpu_count() or 1):
            seconds = min(seconds, _used() - used) if "--static" in more else seconds  # it waited for others' work
        try:
            data = json.loads(done.stdout)["data"]
        except (ValueError, KeyError) as error:
            raise AssertionError(
                f"doctor ended with {done.returncode}: {done.stderr[-1500:]}{done.stdout[-500:]}"
            ) from error
        return Report(data["findings"], data.get("verdict", ""), seconds, done.returncode)


def _used() -> float:
    """Seconds of processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass
class Report:
    """One answer of doctor's."""

    findings: list[dict[str, Any]]
    verdict: str
    seconds: float
    code: int

    def of(self, *status: str) -> list[dict[str, Any]]:
        """The findings of these states, in the order of blame."""
        return [each for each in self.findings if each["status"] in status]

    @property
    def first(self) -> dict[str, Any] | None:
        """What is blamed: the first failure, else the first warning."""
        return next(iter([*self.of("fail"), *self.of("warn")]), None)
