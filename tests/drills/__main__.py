"""`make drills`: run every drill, the long ones too, and print what each measured: `python -m tests.drills [pytest's]`.

REAL=1 adds those with real vLLM and LiteLLM, from the environments that $STACKCTL_TEST_ENVS names.
"""

from __future__ import annotations

import os
import sys

import pytest


class Table:
    """Collects what the drills print: `drill: fault: number`."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        real = "real " if "e2e" in report.keywords else ""
        said = [line[7:] for line in report.capstdout.splitlines() if line.startswith("drill: ")]
        for line in said:
            fault, _, number = line.partition(": ")
            self.rows.append((real + fault, number))
        if report.failed:
            self.rows.append((real + report.nodeid.rpartition("::")[2], "FAILED"))

    def __str__(self) -> str:
        width = max((len(fault) for fault, _ in self.rows), default=0)
        return "\n".join(f"{fault:<{width}}  {number}" for fault, number in self.rows)


def main() -> int:
    table = Table()
    chosen = ["tests/drills", "-m", "drill"]
    if os.environ.get("REAL"):
        chosen.insert(1, "tests/e2e")
    code = pytest.main(["-q", "--no-header", *chosen, *sys.argv[1:]], plugins=[table])
    print(f"\n{table}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
