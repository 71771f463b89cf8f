"""`make drills`: run every drill, the long ones too, and print what each measured: `python -m tests.drills [pytest's]`.

REAL=1 adds those with real vLLM and LiteLLM, from the environments that $STACKCTL_TEST_ENVS names.
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.drills import table


class Collector:
    """Collects what the drills print."""

    def __init__(self) -> None:
        self.rows: list[table.Row] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            found = table.read(report.capstdout, real="e2e" in report.keywords)
            self.rows += found
        if report.failed:
            self.rows.append(table.Row("+", f"FAILED: {report.nodeid}"))


def main() -> int:
    found = Collector()
    chosen = ["tests/drills", "tests/unit", "-m", "drill"]
    if os.environ.get("REAL"):
        chosen.insert(0, "tests/e2e")
    code = pytest.main(["-q", "--no-header", *chosen, *sys.argv[1:]], plugins=[found])
    print(f"\n{table.text(found.rows)}")
    table.keep(found.rows)
    print(f"\nnot run: {', '.join(table.missing(table.load())) or 'none'}; kept in {table.KEPT.name}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
