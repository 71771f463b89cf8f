"""The only printer. People read stderr; what a pipe wants is alone on stdout. Rich is loaded only when it is used."""

from __future__ import annotations

import os
import sys

from stackctl.errors import FAILED, InterruptedByUser, StackError

_METER_SECONDS = 10.0
_NARROWEST = 30  # columns

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class Outcome:
    """What a command came to: lines for people, `stdout` for a pipe, or `data` for --json.

    `quiet` says that the command has printed its JSON by itself, while it ran.
    """

    __slots__ = ("data", "exit_code", "lines", "quiet", "stdout", "table")

    def __init__(
        self,
        exit_code: int = 0,
        *,
        lines: Sequence[str] = (),
        stdout: str = "",
        data: Any = None,
        table: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None,
        quiet: bool = False,
    ) -> None:
        self.exit_code = exit_code
        self.lines = lines
        self.stdout = stdout
        self.data = data
        self.table = table
        self.quiet = quiet


def edge(command: Callable[[], Outcome], *, debug: bool, as_json: bool = False) -> int:
    """Run a command and print what it came to; the one place that catches StackError. Returns the exit code."""
    try:
        outcome = command()
    except KeyboardInterrupt:
        if debug:
            raise
        note("interrupted")
        return InterruptedByUser(2).exit_code
    except StackError as error:
        if debug:
            raise
        failure(error, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:  # `stackctl render | head`
        _drop_stdout()
        return FAILED
    except OSError as error:
        if debug:
            raise
        where = f": {error.filename}" if error.filename else ""
        failure(
            StackError(f"{error.strerror or error}{where}", remedy="run it again with --debug to see where"),
            as_json=as_json,
        )
        return FAILED
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        fault = StackError(
            f"a fault of stackctl's own: {what}", remedy="run it again with --debug, and report what it shows"
        )
        failure(fault, as_json=as_json)
        return FAILED
    try:
        _emit(outcome, as_json=as_json)
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:
        _drop_stdout()
        note(f"stackctl: cannot write the output: {error.strerror}")
        return outcome.exit_code or FAILED
    return outcome.exit_code


def show(outcome: Outcome) -> None:
    """Print an outcome for people while the command goes on."""
    _emit(outcome, as_json=False)


def clear() -> None:
    """Empty the terminal; when it is none, only a line between what was and what comes."""
    note("\x1b[H\x1b[2J\x1b[3J" if sys.stderr.isatty() else "")


def _drop_stdout() -> None:
    """Python flushes stdout at exit; give it somewhere to go when the reader has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _emit(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        import json

        if outcome.quiet:
            return
        data(json.dumps({"schema": 1, "data": outcome.data}, indent=2) + "\n")
        return
    for line in outcome.lines:
        note(line)
    if outcome.table is not None:
        _table(*outcome.table)
    data(outcome.stdout)


def data(text: str) -> None:
    """Write to stdout, for a pipe, in UTF-8. Raises OSError when nobody takes it (a full disk, a closed pipe)."""
    if text:
        sys.stdout.buffer.write(text.encode(errors="surrogateescape"))
        sys.stdout.buffer.flush()


def note(text: str) -> None:
    """Write one line to stderr, for people. A terminal that is gone stops nothing."""
    _Meter.clear()
    _tell(text + "\n")


def _tell(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, UnicodeEncodeError):
        pass


def open_missing_streams() -> None:
    """Give closed standard streams (`>&-`) a place: else the next file that is opened would take their number."""
    for handle, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != handle:
                os.dup2(null, handle)
            setattr(sys, name, os.fdopen(handle, mode, encoding="utf-8", closefd=False))


class _Meter:
    """The last line of a terminal, while it shows how far something is."""

    shown = False
    last = float("-inf")

    @classmethod
    def clear(cls) -> None:
        if cls.shown:
            sys.stderr.write("\r\x1b[K")
            cls.shown = False


def warn(text: str) -> None:
    """A line that deserves to be seen."""
    note(f"{_paint('warning:', '33')} {text}")


def failure(error: StackError, *, as_json: bool = False) -> None:
    """What went wrong, the proof, and the next command."""
    if as_json:
        import json

        data(
            json.dumps(
                {
                    "schema": 1,
                    "error": {"message": error.message, "remedy": error.remedy, "evidence": list(error.evidence)},
                },
                indent=2,
            )
            + "\n"
        )
    for line in error.evidence:
        note(f"  {_paint('|', '2')} {_plain(line)}")
    note(f"{_paint('stackctl:', '31')} {_plain(error.message)}")
    if error.remedy:
        note(f"{_paint('     try:', '36')} {_plain(error.remedy)}")


def _plain(text: str) -> str:
    """On one line and without control characters: a log's lines and a file's names come from others."""
    import re

    text = re.sub(r"\x1b\[[0-9;:]*[A-Za-z]", "", text)  # colours
    return "".join(each if each.isprintable() else " " for each in text).rstrip()


def step(who: str, text: str, seconds: float) -> None:
    """One line of progress: how long it has taken so far, which service, what it does."""
    note(f"{_paint(f'{seconds:6.1f}s', '2')}  {who:<8} {text}")


def meter(who: str, text: str, seconds: float) -> None:
    """Progress that replaces itself on a terminal; elsewhere a line every ten seconds."""
    if sys.stderr.isatty():
        _Meter.clear()
        sys.stderr.write(f"{_paint(f'{seconds:6.1f}s', '2')}  {who:<8} {text}"[: _width()])
        sys.stderr.flush()
        _Meter.shown = True
    elif seconds - _Meter.last >= _METER_SECONDS or seconds < _Meter.last:
        _Meter.last = seconds
        step(who, text, seconds)


def columns(most: int) -> int:
    """Columns for text that is filled line by line: `most`, or the terminal's where that has fewer."""
    try:
        return min(most, max(os.get_terminal_size(2).columns - 1, _NARROWEST))
    except OSError:  # none
        return most


def _width() -> int:
    """Columns that a line may fill without wrapping, colour codes included."""
    import shutil

    return shutil.get_terminal_size().columns + (8 if _paint("", "2") else -1)


def ask(question: str, *, assume: bool) -> bool:
    """Ask on the terminal; `assume` (--yes) or no terminal means yes."""
    if assume or not has_terminal():
        return True
    sys.stderr.write(f"{question} [Y/n] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()  # empty at its end (Ctrl-D): that is no yes
    return bool(answer) and answer.strip().lower() in {"", "y", "yes"}


def confirm(question: str) -> bool:
    """Ask on the terminal before something is destroyed: only a written yes is one."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def prompt(question: str, default: str) -> str:
    """Ask for a word on the terminal; nothing typed (or Ctrl-D) means `default`."""
    sys.stderr.write(f"{question} [{default}] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() or default


def has_terminal() -> bool:
    """Whether a person is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def stdout_is_terminal() -> bool:
    """Whether a person reads stdout, so that a key may be shown."""
    return sys.stdout.isatty()


def _paint(text: str, code: str) -> str:
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in head:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    width = None if sys.stderr.isatty() else 200
    Console(stderr=True, highlight=False, width=width).print(table)
