"""`stackctl env` against a bare interpreter, in turn in one run: the ratio of the medians (bar: <= 4, aim: 3)."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from stackctl import identity

ROUNDS = 41


def main() -> None:
    """Print the two medians in milliseconds and their ratio."""
    with tempfile.TemporaryDirectory() as home:
        root = os.path.join(home, "stacks", "default")
        os.makedirs(root, mode=0o700)
        me = identity.mine()
        client = {"url": "http://127.0.0.1:4000", "model": "claude-local", "window": 32768, "output_limit": 1024}
        supervisor = {"pid": me.pid, "start_ticks": me.start_ticks}
        with open(os.path.join(root, "state.json"), "w", encoding="utf-8") as stream:
            json.dump({"schema": 1, "boot_id": me.boot_id, "supervisor": supervisor, "client": client}, stream)
        with open(os.path.join(root, "client.key"), "w", encoding="utf-8") as stream:
            stream.write("sk-stackctl-bench\n")
        program = os.path.join(os.path.dirname(sys.executable), "stackctl")
        env, bare = [program, "env"], [sys.executable, "-c", "pass"]
        down = [program, "env", "--quiet", "--name", "another"]  # nothing runs: what a start-up file pays every day
        times: dict[str, list[float]] = {"env": [], "bare": [], "down": []}
        for _ in range(ROUNDS):
            for name, argv in (("env", env), ("bare", bare), ("down", down)):
                began = time.perf_counter()
                subprocess.run(
                    argv, check=name != "down", stdout=subprocess.DEVNULL, env={**os.environ, "STACKCTL_HOME": home}
                )
                times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(each) * 1000 for name, each in times.items()}
    print(
        f"stackctl env {medians['env']:.1f} ms, bare interpreter {medians['bare']:.1f} ms, ratio {medians['env'] / medians['bare']:.2f}"
    )
    print(f"with nothing running {medians['down']:.1f} ms, ratio {medians['down'] / medians['bare']:.2f}")


if __name__ == "__main__":
    main()
