"""What people and pipes get to see: one line each, no control characters, no colour where nobody sees it."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stackctl import output
from stackctl.errors import ConfigError, InterruptedByUser, StackError
from stackctl.output import Outcome
from tests.fakes.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator


def fail(error: BaseException) -> Outcome:
    raise error


def test_a_failure_is_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """A log's lines and a file's names come from others: they could move the cursor, or retitle the terminal."""
    error = ConfigError(
        "one\ntwo \x1b[31mred\x1b[0m \x9b2Jx", remedy="a\tb", evidence=("\x1b]0;title\x07x", "naïve 東京")
    )
    assert output.edge(lambda: fail(error), debug=False) == 2
    said = capsys.readouterr()
    assert said.err == "  |  ]0;title x\n  | naïve 東京\nstackctl: one two red  2Jx\n     try: a b\n"
    assert said.out == ""


def test_a_failure_as_json_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    error = StackError("what", remedy="do", evidence=("line\x1b[1m",))
    assert output.edge(lambda: fail(error), debug=False, as_json=True) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "schema": 1,
        "error": {"message": "what", "remedy": "do", "evidence": ["line\x1b[1m"]},
    }
    assert "stackctl: what" in said.err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (InterruptedByUser(2), 130, "stopped"),
        (InterruptedByUser(15), 143, "stopped by signal 15"),
        (InterruptedByUser(1), 143, "stopped by signal 1"),
        (OSError(28, "No space left on device", "/some/file"), 1, "No space left on device: /some/file"),
        (ZeroDivisionError("by zero"), 1, "a fault of stackctl's own: ZeroDivisionError: by zero"),
    ],
)
def test_no_traceback_without_debug(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, says: str
) -> None:
    assert output.edge(lambda: fail(error), debug=False) == code
    said = capsys.readouterr()
    assert says in said.err
    assert "Traceback" not in said.err
    with pytest.raises(type(error)):
        output.edge(lambda: fail(error), debug=True)


@pytest.mark.parametrize("words", [["status"], ["env"]])
def test_a_working_directory_that_is_gone_is_said(tmp_path: Path, words: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    stackctl = str(Path(sys.executable).with_name("stackctl"))
    done = subprocess.run(
        ["/bin/sh", "-c", 'rmdir "$0"; exec "$@"', str(gone), stackctl, *words],
        cwd=gone, env={"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "the working directory is gone" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_outcome_for_people_and_for_pipes(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(4, lines=["a line"], stdout="for a pipe\n", data={"x": 1}, table=(("NAME",), [("[bold]é",)]))
    assert output.edge(lambda: outcome, debug=False) == 4
    said = capsys.readouterr()
    assert said.out == "for a pipe\n"
    assert "a line\n" in said.err
    assert "[bold]é" in said.err
    assert output.edge(lambda: outcome, debug=False, as_json=True) == 4
    said = capsys.readouterr()
    assert json.loads(said.out) == {"schema": 1, "data": {"x": 1}}
    assert said.err == ""


def test_progress_in_a_pipe_is_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    for seconds in range(25):
        output.meter("model", f"{seconds} GB", float(seconds))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-2] for line in lines] == ["0", "10", "20"]


def test_nobody_there_to_be_asked_means_yes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull, encoding="utf-8") as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert output.ask("Go on?", assume=False)
    assert capsys.readouterr().err == ""


PROGRAM = "import sys; from stackctl import output; print('answer:', output.ask('Go on?', assume=False))"


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal([sys.executable, "-c", PROGRAM], {"PATH": os.environ["PATH"], "TERM": "xterm"}, tmp_path)
    terminal.read("Go on? [Y/n]")
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    ("typed", "means"), [(b"\n", True), (b"Yes\n", True), (b"n\n", False), (b"what\n", False), (b"\x04", False)]
)
def test_a_person_is_asked(asked: Terminal, typed: bytes, means: bool) -> None:
    asked.type(typed)
    asked.read(f"answer: {means}")
    assert asked.end() == 0


@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_on_a_terminal_only_and_not_when_refused(tmp_path: Path, more: dict[str, str], coloured: bool) -> None:
    program = "from stackctl import output; output.warn('careful')"
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", **more}
    terminal = Terminal([sys.executable, "-c", program], env, tmp_path)
    try:
        terminal.read("careful")
        assert terminal.end() == 0
        assert ("\x1b[" in terminal.seen) == coloured
    finally:
        terminal.close()


def test_a_reader_that_has_left_is_no_traceback(tmp_path: Path) -> None:
    program = (
        "import sys; from stackctl import output\n"
        "sys.exit(output.edge(lambda: output.Outcome(stdout='x' * 1_000_000), debug=False))"
    )
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as broken:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=broken, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
    assert done.stderr == ""


@pytest.mark.parametrize(("wide", "used"), [(40, 39), (80, 79), (200, 110), (5, 30)])
def test_text_is_filled_as_wide_as_the_terminal_is(wide: int, used: int) -> None:
    master, terminal = os.openpty()
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, wide, 0, 0))
        program = "from stackctl import output; print(output.columns(110))"
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=terminal, check=True)
    finally:
        os.close(master)
        os.close(terminal)
    assert int(done.stdout) == used
