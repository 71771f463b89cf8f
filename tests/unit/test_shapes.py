"""Data into structs from many threads at once: doctor's checks are threads, and each reads the catalogue."""

from __future__ import annotations

import subprocess
import sys

_RACE = """
import sys, threading
import msgspec
from stackctl import shapes

sys.setswitchinterval(1e-6)
for n in range(200):
    inner = msgspec.defstruct(f"Inner{n}", [(f"b{i}", int, i) for i in range(30)])
    outer = msgspec.defstruct(f"Outer{n}", [(f"a{i}", dict[str, inner | None], {}) for i in range(40)])
    data = {"x": {f"a{i}": {"k": {f"b{j}": 50 for j in range(30)}} for i in range(40)}}
    barrier = threading.Barrier(4)

    def ask():
        barrier.wait()
        assert len(shapes.convert(data, dict[str, outer])) == 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
"""


def test_a_struct_that_many_threads_meet_for_the_first_time_ends_nobody() -> None:
    """With msgspec's own `convert` this ends with SIGSEGV within the first few of the 200."""
    ran = subprocess.run([sys.executable, "-c", _RACE], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr or ran.returncode
