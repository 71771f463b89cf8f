"""Looking at this machine before each plan (bar: 300 ms): `host.inspect`, in a process that has it loaded and in a new one."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from stackctl import host
from stackctl.hub.cache import cache_dir

ROUNDS = 41
FIRST = (
    "import time; b = time.perf_counter(); from stackctl import host; host.inspect('/'); print(time.perf_counter() - b)"
)


def main() -> None:
    """Print the medians in milliseconds."""
    again, first = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        host.inspect(cache_dir())
        again.append(time.perf_counter() - began)
        done = subprocess.run([sys.executable, "-c", FIRST], check=True, capture_output=True, text=True)
        first.append(float(done.stdout))
    print(
        f"host.inspect {statistics.median(again) * 1000:.1f} ms, the first time in a process "
        f"{statistics.median(first) * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
