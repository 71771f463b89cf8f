"""A start that fails, hangs, is broken off, or is asked for many times at once: what is said, and that nothing is left.

The engine is the scripted one with a fault, the gateway is real LiteLLM.
"""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from stackctl import planning, starting
from stackctl.commands import up
from stackctl.config import Flags
from stackctl.errors import StackError
from stackctl.model import State
from tests.fakes import stack, startup_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.drill, pytest.mark.timeout(300)]

# reason (a key of startup_log.FAILURES) -> what is said, and what the remedy has
SAYS = {
    "kv_too_small": ("the window of 262,144 tokens needs 24.0 GiB of KV cache", "engines.main.max_model_len: 38224"),
    "no_device": ("vLLM found no GPU", "nvidia-smi"),
    "gpu_busy": ("only 3.21 of 23.99 GiB are free on cuda:0", "gpu-memory-utilization: 0.11"),
    "oom_load": ("weights do not fit into the GPU's memory", "smaller or quantised model"),
    "tool_parser_unknown": ("no tool-call parser named nonsense", "tool-call-parser"),
    "model_not_found": ("no model named nobody/nothing", "`model:`"),
    "gated": ("the model is gated", "HF_TOKEN"),
    "trust_remote": ("needs code from its own repository", "if you trust it"),
    "maxlen_gt_model": ("999,999 tokens is larger than the model's own 8,192", "max_model_len: 8192"),
    "port_in_use": ("port is taken by another program", "engines.main.port"),
    "bad_flag": ("does not know the argument --no-such-flag", "engines.main.args"),
}


def write(root: Path, config: dict[str, Any]) -> tuple[Path, Path]:
    """(home, configuration file)."""
    root.mkdir(parents=True, exist_ok=True)
    file = root / "given.yaml"
    file.write_text(json.dumps(config))
    return root / "state", file


def failed(home: Path, file: Path, *flags: str) -> list[str]:
    """The lines on stderr of an `up` that fails as it should: exit code 1, nothing for a pipe, nothing left."""
    done = stack.stackctl(home, "up", "--yes", "-c", file, *flags, timeout=180)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in "".join(line for line in done.stderr.splitlines() if "| " not in line)
    assert stack.leftovers(home) == []
    assert stack.stackctl(home, "status").returncode == 4
    return done.stderr.splitlines()


def test_every_failure_of_the_scripted_engine_is_tried() -> None:
    assert set(SAYS) == set(startup_log.FAILURES)


@pytest.mark.parametrize("reason", SAYS)
def test_an_engine_that_fails_while_loading(tmp_path: Path, reason: str) -> None:
    home, file = write(tmp_path, stack.scripted_config(tmp_path, faults=[f"fail={reason}"]))
    *before, cause, remedy = failed(home, file, *(["-d"] if len(reason) % 2 else []))
    says, offers = SAYS[reason]
    assert cause.startswith("stackctl: the engine did not start: ")
    assert says in cause
    assert remedy.startswith("     try: ")
    assert offers in remedy
    evidence = [line for line in before if line.startswith("  | ")]
    assert 1 <= len(evidence) <= 12
    assert startup_log.FAILURES[reason].splitlines()[-1].strip() in "\n".join(evidence)


def test_an_earlier_failure_in_the_same_log_is_not_the_cause_of_this_one(tmp_path: Path) -> None:
    config = stack.scripted_config(tmp_path, faults=["fail=kv_too_small"])
    home, file = write(tmp_path, config)
    assert "KV cache" in failed(home, file)[-2]
    config["engines"]["main"]["command"] = ["sh", "-c", "echo '\x1b[31mthe disk ate it\x1b[0m\x07'; exit 7"]
    home, file = write(tmp_path, config)
    *_, evidence, cause, remedy = failed(home, file)
    assert cause == "stackctl: the engine failed: it ended with exit code 7: the disk ate it"
    assert evidence == "  | the disk ate it"  # no colours or bells from somebody else's log
    assert str(home / "stacks" / "default" / "logs" / "engine.log") in remedy


def test_an_engine_program_that_is_not_there(tmp_path: Path) -> None:
    config = stack.scripted_config(tmp_path)
    config["engines"]["main"]["command"] = [str(tmp_path / "no-such-program")]
    *_, cause, _ = failed(*write(tmp_path, config))
    assert "no-such-program: No such file or directory" in cause


def test_an_engine_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two seconds of patience in place of ten minutes; all else is as `up` does it."""
    home, file = write(tmp_path, stack.scripted_config(tmp_path, faults=["hang"]))
    monkeypatch.setenv("STACKCTL_HOME", str(home))
    monkeypatch.setenv("HOME", str(tmp_path))
    order = up.order_of(planning.prepare(Flags(config=str(file))))
    engine, gateway = order.specs
    order = dataclasses.replace(order, specs=(dataclasses.replace(engine, start_timeout=2.0), gateway))
    narrator = starting.Narrator(order.specs, lambda _: None)
    began = time.monotonic()
    ended = starting.foreground(order, narrator)
    assert time.monotonic() - began < 90
    assert ended.state is State.FAILED
    with pytest.raises(StackError) as caught:
        starting.exit_code(ended, order.specs, {"engine": "main"}, narrator.log_starts)
    assert re.search(r"the engine failed: .*no progress", caught.value.message), caught.value.message
    assert "engine.log" in caught.value.remedy
    assert any("Loading weights took" in line for line in caught.value.evidence)
    assert stack.leftovers(home) == []


# What LiteLLM refuses although the file keeps all that stackctl promises.
REFUSED = {
    "a setting that it does not take": (
        "router_settings:", "router_settings:\n  routing_strategy: nonsense",
        "the gateway did not start: LiteLLM could not start (ValueError: ", "Invalid routing_strategy: 'nonsense'",
    ),
    "a program that ends without an exception": (
        "store_model_in_db: false", "store_model_in_db: false\n  database_url: nonsense",
        "the gateway failed: it ended with exit code ", "unsupported scheme",
    ),
}  # fmt: skip


@pytest.mark.drill
@pytest.mark.parametrize("case", REFUSED)
def test_a_template_that_litellm_refuses_is_named(tmp_path: Path, case: str) -> None:
    here, instead, begins, says = REFUSED[case]
    home, file = write(tmp_path, stack.scripted_config(tmp_path))
    own = home / "config" / "templates" / "litellm_config.yaml.j2"
    own.parent.mkdir(parents=True)
    home.chmod(0o700)
    shipped = (stack.ROOT / "templates" / own.name).read_text()
    assert here in shipped
    own.write_text(shipped.replace(here, instead))
    *_, cause, remedy = failed(home, file, "-d")
    assert cause.startswith(f"stackctl: {begins}")
    assert says in cause
    assert str(own) in remedy
    assert "\x1b" not in cause
    assert stack.leftovers(home) == []
    print(f"drill 23: {case}: named, rolled back, 0 left")


def test_an_engine_that_refuses_every_request_is_not_called_ready(tmp_path: Path) -> None:
    lines = failed(*write(tmp_path, stack.scripted_config(tmp_path, faults=["refuse"])))
    assert lines[-2].endswith("no token comes through it: the scripted engine was told to refuse")


# --- broken off


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    home, file = write(tmp_path, stack.scripted_config(tmp_path, faults=["hang"]))
    yield home, file
    stack.stackctl(home, "down")


def start(home: Path, file: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        stack.argv("up", "--yes", "-c", file, *flags), env=stack.environment(home), cwd=home.parent,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def await_line(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if words in line:
            return
    raise AssertionError(f"it ended before it said {words!r}: {seen}")


@pytest.mark.parametrize("flags", [[], ["-d"]], ids=["foreground", "detached"])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_start_that_is_broken_off(hanging: tuple[Path, Path], flags: list[str], signum: int, code: int) -> None:
    home, file = hanging
    with start(home, file, *flags) as process:
        await_line(process, "loaded the weights")
        assert len(stack.leftovers(home)) > 4
        began = time.monotonic()
        process.send_signal(signum)
        said, errors = process.communicate(timeout=90)
    assert process.returncode == code, errors
    assert said == ""
    assert "Traceback" not in errors
    assert time.monotonic() - began < 30
    assert stack.leftovers(home) == []


def test_ctrl_c_ends_a_stack_that_runs_in_the_foreground(tmp_path: Path) -> None:
    config = stack.scripted_config(tmp_path)
    home, file = write(tmp_path, config)
    with start(home, file) as process:
        await_line(process, "runs until Ctrl-C")
        assert stack.stackctl(home, "status").returncode == 0
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{config['gateway']['port']}\n" in said
    assert "nothing of it is left running" in errors
    assert stack.leftovers(home) == []


@pytest.mark.parametrize(("many", "kind"), [(2, "litellm"), (20, "direct")])
def test_many_ups_at_once_make_one_stack(tmp_path: Path, many: int, kind: str) -> None:
    config = stack.scripted_config(tmp_path, faults=["load=1"])
    config["gateway"]["kind"] = kind
    home, file = write(tmp_path, config)
    try:
        started = [start(home, file, "-d") for _ in range(many)]
        ended = [(*process.communicate(timeout=240), process.returncode) for process in started]
        assert [code for _, _, code in ended] == [0] * many, [errors for _, errors, code in ended if code]
        assert len({said for said, _, _ in ended}) == 1
        assert sum("runs in the background" in errors for _, errors, _ in ended) == 1
        engines = [
            each for each in psutil.process_iter(["cmdline"])
            if str(tmp_path / "script.json") in (each.info["cmdline"] or []) and "--port" in each.info["cmdline"]
        ]  # fmt: skip
        leaders = [each for each in engines if not any("guard.py" in word for word in each.cmdline())]
        assert len(leaders) == 1
    finally:
        stopped = stack.stackctl(home, "down")
    assert stopped.returncode == 0, stopped.stderr
    assert stack.leftovers(home) == []
