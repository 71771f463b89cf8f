"""A log stays small while it is written, loses nothing that is written meanwhile, and is followed through all of it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stackctl import logfile, process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRITER = """
import os, sys
handle = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
for number in range(int(sys.argv[2])):
    os.write(handle, (f"line {number} ".ljust(199, ".") + "\\n").encode())
"""
CAP = 256 * 1024


def fill(path: Path, lines: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", WRITER, str(path), str(lines)])


def on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512


def number(line: str) -> int:
    assert len(line) == 199
    return int(line.split()[1])


def no_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_handle: int, _upto: int) -> bool:
        return False  # as a file system without fallocate answers

    monkeypatch.setattr(logfile, "_punch", refuse)


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"x\n" * 1000)
    assert not logfile.trim(str(log), CAP)
    assert log.read_bytes() == b"x\n" * 1000
    assert not logfile.trim(str(tmp_path / "none"), CAP)


def test_nothing_is_lost_while_a_flooding_writer_is_trimmed(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.touch()
    reader = logfile.Reader(str(log))
    reader.last(1 << 20)
    seen: list[int] = []
    largest = trimmed = 0
    with fill(log, 40_000) as writer:
        while True:
            over = writer.poll() is not None
            trimmed += logfile.trim(str(log), CAP)
            largest = max(largest, on_disk(log))
            seen += [number(each) for each in reader.more() if each.startswith("line")]
            if over:
                break
    assert trimmed  # how often depends on how the two processes are scheduled
    assert on_disk(log) <= CAP
    assert seen[-1] == 39_999
    assert seen == sorted(set(seen))
    # the newest are all there, whole
    kept = [number(each) for each in logfile.Reader(str(log)).last(CAP)]
    assert len(kept) > CAP * 0.4 / 200
    assert kept == list(range(40_000 - len(kept), 40_000))
    assert process.tail(str(log), lines=3)[-1].startswith("line 39999 ")


def test_without_holes_the_newest_part_is_moved_to_the_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_holes(monkeypatch)
    log = tmp_path / "engine.log"
    assert fill(log, 5000).wait(30) == 0
    reader = logfile.Reader(str(log))
    assert number(reader.last(1000)[-1]) == 4999
    assert logfile.trim(str(log), CAP)
    assert log.stat().st_size <= CAP * 0.5
    kept = [number(each) for each in log.read_text().splitlines()]
    assert kept == list(range(5000 - len(kept), 5000))
    reader.more()  # a file that was cut short is read from its start
    assert fill(log, 3).wait(30) == 0
    assert [number(each) for each in reader.more()] == [0, 1, 2]


@pytest.mark.parametrize("lines", [10, 5000])
def test_compacting_makes_the_size_what_the_log_holds(tmp_path: Path, lines: int) -> None:
    log = tmp_path / "engine.log"
    assert fill(log, lines).wait(30) == 0
    logfile.trim(str(log), CAP)
    before = logfile.Reader(str(log)).last(CAP)
    logfile.compact(str(log), CAP)
    assert log.stat().st_size <= CAP
    assert b"\0" not in log.read_bytes().splitlines()[-1]
    after = logfile.Reader(str(log)).last(CAP)
    assert number(after[-1]) == lines - 1
    assert after == before[-len(after) :]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda log: os.truncate(log, 0), id="emptied"),
        pytest.param(os.unlink, id="removed"),
        pytest.param(lambda log: os.rename(log, f"{log}.1"), id="renamed"),
    ],
)
def test_a_follower_copes_with_whatever_is_done_to_the_file(tmp_path: Path, change: Callable[[str], None]) -> None:
    log = str(tmp_path / "engine.log")
    with open(log, "w") as stream:
        stream.write("one\ntwo\nthr")
    reader = logfile.Reader(log)
    assert reader.last(1000) == ["one", "two", "thr"]
    change(log)
    assert reader.more() == []
    with open(log, "a") as stream:
        stream.write("new\nlast")
    assert reader.more() == ["new"]
    with open(log, "a") as stream:
        stream.write(" one\n")
    assert reader.more() == ["last one"]


def test_a_line_is_never_half(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"")
    reader = logfile.Reader(str(log))
    assert reader.last(100) == []
    got = []
    for part in (b"a", b"b\nc", b"", b"d\n\xff\n"):
        with log.open("ab") as stream:
            stream.write(part)
        got.append(reader.more())
    assert got == [[], ["ab"], [], ["cd", "\ufffd"]]


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden\n" * 100_000)
    link = tmp_path / "engine.log"
    link.symlink_to(secret)
    assert logfile.Reader(str(link)).last(1000) == []
    assert not logfile.trim(str(link), 64)
    logfile.compact(str(link), 64)
    assert secret.stat().st_size == 700_000


def test_the_cap_is_also_a_part_of_the_file_system(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    whole = disk.f_blocks * disk.f_frsize
    assert logfile.cap_of(str(tmp_path), whole) == whole // 8
    assert list(itertools.starmap(logfile.cap_of, [(str(tmp_path), 1 << 20), ("/nowhere/at/all", 7)])) == [1 << 20, 7]


def test_a_line_that_is_still_being_written_is_followed_as_one(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("one\nkey sk-stackctl-abc")
    reader = logfile.Reader(str(log))
    assert reader.last(1000, unfinished=False) == ["one"]
    with log.open("a") as stream:
        stream.write("def0123456789\n")
    assert reader.more() == ["key sk-stackctl-abcdef0123456789"]


def test_a_line_cut_by_a_hole_is_not_shown_as_one(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"first\nhalf of a li" + b"\0" * 8192 + b"e of before\nlast\n")
    assert logfile.Reader(str(log)).last(1 << 20) == ["first", "last"]
