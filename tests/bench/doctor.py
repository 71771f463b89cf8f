"""`stackctl doctor --static` of the embedded default that is not running: the median in seconds (bar: <= 2)."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 5


def main() -> None:
    """Print the median, and the time of a start that does nothing beside it."""
    program = os.path.join(os.path.dirname(sys.executable), "stackctl")
    envs = os.environ.get("STACKCTL_TEST_ENVS") or os.environ.get("STACKCTL_ENVS")
    with tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home, "STACKCTL_HOME": os.path.join(home, "state")}
        env |= {"STACKCTL_ENVS": envs} if envs else {}
        times: dict[str, list[float]] = {"doctor": [], "help": []}
        for _ in range(ROUNDS):
            for name, words in (("doctor", ["doctor", "--static", "--json"]), ("help", ["--version"])):
                began = time.perf_counter()
                subprocess.run([program, *words], check=True, env=env, cwd=home, capture_output=True)
                times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(each) for name, each in times.items()}
    print(f"stackctl doctor --static {medians['doctor']:.2f} s (stackctl --version {medians['help']:.2f} s)")


if __name__ == "__main__":
    main()
