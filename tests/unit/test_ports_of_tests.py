"""The lanes of `make test` run side by side: a port that one has chosen is not the other's."""

from __future__ import annotations

import subprocess
import sys

from tests.fakes import ports

CHILD = "import random; from tests.fakes import ports; random.choice = lambda _: {start}; print(ports.free_port(), ports.free_port())"


def test_a_port_is_given_to_one_process_only() -> None:
    ours = ports.free_port()
    asked = [sys.executable, "-c", CHILD.format(start=ours)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    theirs = list(map(int, done.stdout.split()))
    assert len({ours, *theirs}) == 3
    assert not {ours, *theirs} - set(ports.RANGE)
