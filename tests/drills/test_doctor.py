"""`stackctl doctor --static` beside a real stack: silent while it is well, right about what was broken, and it changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import runstate
from tests.fakes.home import ENGINE, Home, until
from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.drill

KEYS = {"id", "status", "hop", "cause", "evidence", "remedy", "docs", "fix"}


def doctor(home: Home, *words: str, expect: int = 0, **extra: str) -> dict[str, Any]:
    """What it says, as the pinned JSON."""
    done = home.run("doctor", "--static", "--json", *words, expect=expect, cwd=None, **extra)
    found = json.loads(done.stdout)
    assert found["schema"] == 1
    data = found["data"]
    assert isinstance(data, dict)
    assert set(data) == {"verdict", "findings", "seconds"}
    assert all(set(each) == KEYS for each in data["findings"])
    return data


def wrong(data: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["id"], each["status"]) for each in data["findings"] if each["status"] in {"fail", "warn"}]


def test_a_stack_that_is_well_has_nothing_said_against_it_and_one_that_is_down_neither(home: Home) -> None:
    home.up()
    found = doctor(home)
    assert wrong(found) == []
    assert found["verdict"] == "nothing wrong was found without asking anything (--static)"
    assert min(found["seconds"], doctor(home)["seconds"]) <= 6  # three times what it may take
    said = home.run("doctor", "--static")
    assert said.stdout == ""
    assert "verdict: nothing wrong" in said.stderr
    home.run("down")
    found = doctor(home, "-c", str(home.root / "default.yaml"))
    assert wrong(found) == []
    assert found["verdict"] == "nothing stands in the way of a start; the stack is not running"


def test_what_is_broken_in_a_running_stack_is_named_and_nothing_is_changed(home: Home) -> None:
    status = home.up()
    paths = home.paths()
    engine = next(each for each in status["services"] if each["kind"] == "engine")["pid"]

    key = (home.state / "stacks/default/client.key").read_bytes()
    os.unlink(paths.client_key)
    assert wrong(doctor(home, expect=1)) == [("gateway.key-file", "fail")]
    (home.state / "stacks/default/client.key").write_bytes(key)
    os.chmod(paths.client_key, 0o600)

    shell = {"ANTHROPIC_BASE_URL": status["gateway_url"], "ANTHROPIC_AUTH_TOKEN": "sk-of-yesterday", "NO_PROXY": "*"}
    found = wrong(doctor(home, expect=1, **shell))
    assert ("client.stale-key", "fail") in found

    config = home.root / "default.yaml"
    config.write_text(config.read_text().replace("32768", "16384"))
    assert wrong(doctor(home)) == [("configuration.drift", "warn")]
    assert wrong(doctor(home, "--strict", expect=1)) == [("configuration.drift", "warn")]
    config.write_text(config.read_text().replace("16384", "32768"))

    os.kill(engine, signal.SIGSTOP)
    try:
        assert wrong(doctor(home, expect=1))[0] == ("engine.stopped", "fail")
    finally:
        os.kill(engine, signal.SIGCONT)
    assert home.data("status")["services"][0]["pid"] == engine

    os.rename(paths.lock, f"{paths.lock}.was")
    os.mkdir(paths.lock)
    assert wrong(doctor(home, expect=1)) == [("machine.state-directory", "fail")]
    os.rmdir(paths.lock)
    os.rename(f"{paths.lock}.was", paths.lock)
    shutil.rmtree(paths.logs)
    assert wrong(doctor(home)) == [("engine.log-gone", "warn")]


def test_a_dead_supervisor_and_a_spoilt_record_are_named_and_left_for_down(home: Home) -> None:
    status = home.up()
    paths = home.paths()
    os.kill(status["supervisor"]["pid"], signal.SIGKILL)
    until(lambda: not runstate.is_locked(paths), 20, "the lock is free")
    assert wrong(doctor(home, expect=1))[0] == ("engine.supervisor-dead", "fail")
    with open(paths.state, "w", encoding="utf-8") as stream:
        stream.write("{")
    assert wrong(doctor(home, expect=1))[0] == ("engine.state-broken", "fail")
    with open(paths.state, encoding="utf-8") as stream:
        assert stream.read() == "{"


def test_what_its_supervisor_heals_is_waited_for_and_not_repaired(home: Home) -> None:
    file = home.config(port=free_port())
    slow = json.loads(file.read_text())
    slow["engines"]["main"]["command"] += ["--fake-fault", "load=12"]  # seconds, so that doctor finds it starting
    file.write_text(json.dumps(slow))
    home.started.append("default")
    home.run("up", "-d", "--yes", "-c", file)
    status = home.data("status")
    os.kill(status["services"][0]["pid"], signal.SIGKILL)
    until(lambda: home.data("status")["services"][0]["state"] in {"restarting", "starting"}, 20, "it is started again")
    done = home.run("doctor", "--json", "--static", "--fix", "--yes")
    assert json.loads(done.stdout)["data"]["repairs"] == []
    assert "waiting for it" in done.stderr
    after = home.data("status")
    assert (after["services"][0]["state"], after["supervisor"]) == ("ready", status["supervisor"])


def test_a_stack_is_looked_at_and_repaired_as_it_was_started_whatever_this_shell_says(home: Home) -> None:
    file = home.config(port=free_port())
    written = json.loads(file.read_text())
    del written["engines"]["main"]["model"]
    file.write_text(json.dumps(written))
    home.started.append("default")
    home.run("up", "-d", "--yes", "-c", file, "--model", "scripted")
    assert wrong(doctor(home)) == []
    live = json.loads(home.run("doctor", "--json", "--fix", "--yes", expect=1).stdout)["data"]
    assert (wrong(live), live["repairs"]) == ([("engine.no-parser", "fail")], [])  # a restart would bring no parser
    before, paths = home.data("status"), home.paths()
    os.kill(before["supervisor"]["pid"], signal.SIGKILL)
    until(lambda: not runstate.is_locked(paths), 20, "the lock is free")
    with open(paths.state, "w", encoding="utf-8") as stream:
        stream.write("{")
    found = json.loads(home.run("doctor", "--static", "--json", "--fix", "--yes").stdout)["data"]
    assert [(each["finding"], each["outcome"]) for each in found["repairs"]] == [("engine.state-broken", "repaired")]
    after = home.data("status")
    assert after["gateway_url"] == before["gateway_url"]
    assert [each["model"] for each in after["services"]] == [each["model"] for each in before["services"]]


def test_what_cannot_be_looked_at_is_a_usage_error(home: Home, tmp_path: Path) -> None:
    for words in (("--url", "ftp://x"), ("--url", "http://127.0.0.1:1", "--key-file", str(tmp_path / "none"))):
        home.run("doctor", *words, expect=2)
    for words in (("--name", "Bad Name"), ("--model", "./nowhere"), ("-c", str(tmp_path / "none.yaml"))):
        said = json.loads(home.run("doctor", "--json", *words, expect=2, cwd=tmp_path).stdout)
        assert set(said) == {"schema", "error"}, said


def test_a_report_holds_no_key_and_is_never_written_over_another_file(home: Home, tmp_path: Path) -> None:
    home.up()
    key = (home.state / "stacks/default/client.key").read_text().strip()
    report = tmp_path / "report.md"
    home.run("doctor", "--static", "--report", report)
    text = report.read_text()
    assert "verdict: nothing wrong" in text
    assert key not in text
    assert report.stat().st_mode & 0o077 == 0
    home.run("doctor", "--static", "--report", report, expect=2)
    assert report.read_text() == text


def test_a_repair_that_does_not_help_leaves_the_stack_as_it_ran_and_it_need_not_be_named(home: Home) -> None:
    deaf = home.root / "deaf.py"  # whatever parser it is told, it has another
    deaf.write_text(
        "import os, sys\n"
        "words = ['hermes' if each == 'qwen3_xml' else each for each in sys.argv[1:]]\n"
        f"os.execv(sys.executable, [sys.executable, {str(ENGINE)!r}, '--fake-competent', '--fake-fault', 'tools=xml', *words])\n"
    )
    file = home.root / "mine.yaml"
    engine = {"model": "Qwen/Qwen3-8B", "max_model_len": 32768, "command": [sys.executable, str(deaf)]}
    engine["args"] = {"tool-call-parser": "hermes"}
    file.write_text(json.dumps({"engines": {"main": engine}, "gateway": {"kind": "direct", "port": free_port()}}))
    before = file.read_text()
    home.started.append("default")
    home.run("up", "-d", "--yes", "-c", file)
    first = home.data("status")
    there = sorted(home.root.iterdir())

    done = home.run("doctor", "--fix", "--yes", "--json", expect=1)
    assert [each["outcome"] for each in json.loads(done.stdout)["data"]["repairs"]] == ["undone"], done.stderr
    assert "the stack is started again as it was" in done.stderr
    assert (file.read_text(), sorted(home.root.iterdir())) == (before, there)
    now = home.data("status")
    assert [each["state"] for each in now["services"]] == ["ready"]
    assert [each["model"] for each in now["services"]] == [each["model"] for each in first["services"]]
    assert now["supervisor"] != first["supervisor"]
    with open(f"/proc/{now['services'][0]['pid']}/cmdline", encoding="utf-8") as argv:
        assert "hermes" in argv.read().split("\0")
