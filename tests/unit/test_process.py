"""`process.run`: streamed, bounded, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from stackctl.errors import StackError
from stackctl.process import RunTimeoutError, run

if TYPE_CHECKING:
    from pathlib import Path

PY = sys.executable


def _gone(pid: int, within: float = 30.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True  # killed; its new parent has yet to reap it
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_merges_both_streams_and_reports_the_exit_code() -> None:
    done = run(
        [PY, "-c", "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"], timeout=20
    )
    assert done.returncode == 3
    assert done.output == "out\nerr\n"


def test_lines_arrive_while_the_program_still_runs(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    seen: list[str] = []

    def on_line(line: str) -> None:
        seen.append(line)
        heard.touch()

    run(
        ["/bin/sh", "-c", f"echo first; until [ -e {heard} ]; do sleep 0.01; done; echo last"],
        timeout=60,
        on_line=on_line,
    )
    assert seen == ["first", "last"]


def test_a_carriage_return_ends_a_line_so_progress_bars_are_seen() -> None:
    seen: list[str] = []
    run([PY, "-c", "print('10%\\r20%\\rdone', end='')"], timeout=20, on_line=seen.append)
    assert seen == ["10%", "20%", "done"]


def test_a_program_that_takes_too_long_is_killed_with_its_children() -> None:
    seen: list[str] = []
    began = time.monotonic()
    with pytest.raises(RunTimeoutError) as caught:
        run(["/bin/sh", "-c", "sleep 60 & echo $!; wait"], timeout=2.0, on_line=seen.append)
    assert time.monotonic() - began < 20
    assert caught.value.evidence == (seen[0],)
    assert _gone(int(seen[0]))


def test_an_endless_flood_still_times_out() -> None:
    began = time.monotonic()
    with pytest.raises(RunTimeoutError):
        run([PY, "-c", "while True: print('x' * 200)"], timeout=1.0)
    assert time.monotonic() - began < 20


def test_a_grandchild_that_holds_the_pipe_does_not_hold_us() -> None:
    code = "import os, time\npid = os.fork()\nif pid: print(pid, flush=True)\nelse: time.sleep(60)"
    began = time.monotonic()
    done = run([PY, "-c", code], timeout=30)
    assert time.monotonic() - began < 20
    assert done.returncode == 0
    assert _gone(int(done.output))


def test_an_exception_in_the_callback_kills_the_program() -> None:
    seen: list[int] = []

    def fail(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([PY, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"], timeout=30, on_line=fail)
    assert _gone(seen[0])


def test_a_program_does_not_outlive_us() -> None:
    code = (
        "import sys\n"
        "from stackctl.process import run\n"
        "inner = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "run([sys.executable, '-c', inner], timeout=60, on_line=lambda line: print(line, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as outer:
        assert outer.stdout is not None
        pid = int(outer.stdout.readline())
        outer.kill()
    assert _gone(pid)


def test_a_program_killed_by_a_signal_says_which() -> None:
    assert run([PY, "-c", "import os; os.kill(os.getpid(), 15)"], timeout=20).returncode == -15


def test_closing_its_output_is_not_ending() -> None:
    done = run([PY, "-c", "import os, sys, time; os.close(1); os.close(2); time.sleep(0.5); os._exit(7)"], timeout=20)
    assert done.returncode == 7


def test_the_environment_is_exactly_the_one_given() -> None:
    done = run([PY, "-I", "-c", "import os; print(sorted(os.environ))"], env={"ONLY": "this"}, timeout=20)
    assert set(eval(done.output)) <= {"ONLY", "LC_CTYPE"}


def test_a_missing_program_is_a_sentence() -> None:
    with pytest.raises(StackError, match="cannot start /no/such/program: No such file"):
        run(["/no/such/program"], timeout=5)


def test_no_descriptor_is_leaked() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        run([PY, "-I", "-S", "-c", "print(1)"], timeout=20)
    assert len(os.listdir("/proc/self/fd")) == before
