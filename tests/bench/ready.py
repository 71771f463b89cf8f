"""Time to ready of the whole stack against the bare engine, started by hand with the same flags, in turn in one run.

Ready is for the stack a real token through the gateway, for the bare engine its `/health`. Bars: ratio <= 1.3 on two
cores, where LiteLLM's own seconds of CPU compete with the engine's; ready in <= 40 s with the environments installed.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

STACKCTL = str(Path(sys.executable).with_name("stackctl"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))


def plan(config: str) -> tuple[list[str], dict[str, str], str]:
    """The engine's argv, environment and address, as `stackctl render` shows them."""
    done = subprocess.run([STACKCTL, "render", "--json", "-c", config], capture_output=True, text=True, check=True)
    engine = json.loads(done.stdout)["data"]["engine"]
    return engine["argv"], engine["env"], engine["url"]


def bare(argv: list[str], env: dict[str, str], url: str, log: str) -> float:
    """Seconds from the start of the engine alone to its first healthy answer."""
    variables = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    began = time.monotonic()
    with open(log, "ab") as output:
        engine = subprocess.Popen(
            argv, env={**variables, **env}, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
    try:
        while True:
            assert engine.poll() is None, f"the bare engine ended: see {log}"
            assert time.monotonic() - began < 600
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                    if answer.status == 200:
                        return time.monotonic() - began
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
    finally:
        os.killpg(engine.pid, signal.SIGKILL)
        engine.wait()


def stack(config: str) -> float:
    """Seconds that `stackctl up -d` takes to say ready."""
    began = time.monotonic()
    subprocess.run([STACKCTL, "up", "-d", "--yes", "-c", config], check=True, capture_output=True)
    seconds = time.monotonic() - began
    subprocess.run([STACKCTL, "down", "-c", config], check=True, capture_output=True)
    return seconds


def main() -> None:
    """Print both medians in seconds and the ratio."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["STACKCTL_HOME"] = os.path.join(place, "home")
        config = os.path.join(place, "bench.yaml")
        Path(config).write_text("engines: {main: {model: embedded, port: 18473}}\ngateway: {port: 18474}\n")
        stack(config)  # installs what is missing, warms the page cache
        argv, env, url = plan(config)
        times: dict[str, list[float]] = {"bare": [], "stack": []}
        for _ in range(ROUNDS):
            times["bare"].append(bare(argv, env, url, os.path.join(place, "bare.log")))
            times["stack"].append(stack(config))
    medians = {name: statistics.median(each) for name, each in times.items()}
    rounds = " ".join(f"{one:.1f}/{two:.1f}" for one, two in zip(times["stack"], times["bare"], strict=True))
    ratio = medians["stack"] / medians["bare"]
    print(
        f"stack ready {medians['stack']:.1f} s, bare engine {medians['bare']:.1f} s, ratio {ratio:.2f}  (rounds: {rounds})"
    )


if __name__ == "__main__":
    main()
