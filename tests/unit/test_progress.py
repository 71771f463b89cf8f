"""The follower of a growing log, fed with real logs and with everything that happens to files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stackctl.model import ServiceKind
from stackctl.progress import Follower

if TYPE_CHECKING:
    from stackctl.catalog import symptoms

LOGS = Path(__file__).parent / "logs"
SHARDS = "Loading safetensors checkpoint shards: {:3d}% Completed | {}/4 [00:00<00:00,  1.29it/s]\n"


def texts(follower: Follower) -> list[str]:
    return [phase.text for phase in follower.poll()]


def test_a_real_start_of_the_engine_is_told_step_by_step() -> None:
    assert texts(Follower(str(LOGS / "engine-start.log"))) == [
        "starting vLLM 0.32.0",
        "reading the model's configuration",
        "architecture LlamaForCausalLM",
        "window of 32,768 tokens",
        "starting the engine's process",
        "loading weights",
        "loading weights 0/1 (0%)",
        "loading weights 1/1 (100%)",
        "loaded the weights in 0.78 s",
        "allocating KV cache: 93,184 tokens",
        "the engine is warm (6.23 s)",
        "opening http://127.0.0.1:8000",
        "listening",
    ]


def test_a_real_start_of_the_gateway_is_told_step_by_step() -> None:
    follower = Follower(str(LOGS / "gateway-start.log"), ServiceKind.GATEWAY)
    assert texts(follower) == ["loading configuration", "listening on http://127.0.0.1:4000"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_same_is_told_however_the_log_grows(tmp_path: Path, size: int) -> None:
    whole = (LOGS / "engine-start.log").read_bytes()
    expected = Follower(str(LOGS / "engine-start.log")).poll()
    log = tmp_path / "engine.log"
    follower = Follower(str(log))
    found: list[symptoms.Phase] = []
    with log.open("ab", buffering=0) as stream:
        for at in range(0, len(whole), size):
            stream.write(whole[at : at + size])
            found += follower.poll()
    assert found == expected


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("INFO [startup.py:1] vLLM server version 0.33.0, serving model my/model", "starting vLLM 0.33.0"),
        (SHARDS.format(75, 3).strip(), "loading weights 3/4 (75%)"),
        ("INFO [backends.py:1] Using cache directory: /c/x for vLLM's torch.compile", "compiling (the first start takes longest)"),
        ("INFO Warming up model for the compilation...", "compiling (the first start takes longest)"),
        ("INFO torch.compile took 31.5 s in total", "compiled in 31.5 s"),
        ("INFO No available shared memory broadcast block found in 60 seconds.", "still busy (a long compilation is normal)"),
        ("INFO Auto-fit max_model_len: reduced from 262144 to 81920 to fit in", "window of 81,920 tokens (the model has 262,144; no more fits the memory)"),
        ("INFO GPU KV cache size: 81,920 tokens, Maximum concurrency for 32,768 tokens per request: 2.5x", "allocating KV cache: 81,920 tokens"),
        ("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  10%|#| 5/51", "capturing CUDA graphs"),
        ("INFO Graph capturing finished in 12 secs, took 0.50 GiB", "captured the CUDA graphs in 12 s"),
    ],
)  # fmt: skip
def test_the_phases_that_a_cpu_start_does_not_show(tmp_path: Path, line: str, text: str) -> None:
    log = tmp_path / "engine.log"
    log.write_text(line + "\n")
    assert texts(Follower(str(log))) == [text]


def test_an_unfinished_line_waits_for_its_end(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("INFO Using max model len 327")
    follower = Follower(str(log))
    assert texts(follower) == []
    with log.open("a") as stream:
        stream.write("68\n")
    assert texts(follower) == ["window of 32,768 tokens"]
    assert texts(follower) == []


def test_a_repeated_phase_is_told_once(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text(SHARDS.format(25, 1) * 3)
    follower = Follower(str(log))
    assert texts(follower) == ["loading weights 1/4 (25%)"]
    with log.open("a") as stream:
        stream.write(SHARDS.format(25, 1) + SHARDS.format(50, 2))
    assert texts(follower) == ["loading weights 2/4 (50%)"]


def test_a_carriage_return_ends_a_line(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text(SHARDS.format(25, 1).replace("\n", "\r") + SHARDS.format(50, 2).replace("\n", "\r"))
    assert texts(Follower(str(log))) == ["loading weights 1/4 (25%)", "loading weights 2/4 (50%)"]


def test_a_file_that_comes_later_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    follower = Follower(str(log))
    assert texts(follower) == []
    log.write_text("Application startup complete.\n")
    assert texts(follower) == ["listening"]


def test_a_cut_file_is_read_again(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("Using max model len 4096 and a long line to be cut away\n")
    follower = Follower(str(log))
    assert texts(follower) == ["window of 4,096 tokens"]
    log.write_text("Using max model len 8192\n")
    assert texts(follower) == ["window of 8,192 tokens"]


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("Using max model len 4096\nhalf a li")
    follower = Follower(str(log))
    assert texts(follower) == ["window of 4,096 tokens"]
    (tmp_path / "new").write_text("ne\nUsing max model len 8192\nand this file is longer than the one before it\n")
    os.replace(tmp_path / "new", log)
    assert texts(follower) == ["window of 8,192 tokens"]


def test_an_earlier_run_is_skipped(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("Application startup complete.\n")
    follower = Follower(str(log), start=log.stat().st_size)
    assert texts(follower) == []
    with log.open("a") as stream:
        stream.write("Using max model len 4096\n")
    assert texts(follower) == ["window of 4,096 tokens"]


def test_invalid_utf8_and_endless_lines_are_survived(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"\xff\xfe" + b"x" * 3_000_000)
    follower = Follower(str(log))
    assert texts(follower) == []
    with log.open("ab") as stream:
        stream.write(b"y" * 100_000 + b"\n\x80Application startup complete.\xc3\n")
    assert texts(follower) == ["listening"]


def test_a_flood_is_read_in_bounded_steps(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"noise\n" * 2_000_000 + b"Application startup complete.\n")
    follower = Follower(str(log))
    assert texts(follower) == []
    assert "listening" in [text for _ in range(3) for text in texts(follower)]


def test_a_symlink_a_pipe_and_a_directory_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "real.log").write_text("Application startup complete.\n")
    (tmp_path / "link.log").symlink_to(tmp_path / "real.log")
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "dir.log").mkdir()
    for name in ("link.log", "pipe.log", "dir.log"):
        assert texts(Follower(str(tmp_path / name))) == []
