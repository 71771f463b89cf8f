"""`stackctl logs` from the files: order, amounts, times, secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from stackctl import redact
from stackctl.commands.logs import Request, run
from stackctl.errors import ConfigError, NotRunningError
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-stackctl-" + "ab" * 32


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackPaths:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    paths = StackPaths("default")
    os.makedirs(paths.logs, mode=0o700)
    return paths


def write(paths: StackPaths, service: str, *lines: str) -> None:
    with open(paths.log(service), "a") as log:
        log.write("".join(f"{each}\n" for each in lines))


def clock(ago: float, form: str = "%m-%d %H:%M:%S") -> str:
    return time.strftime(form, time.localtime(time.time() - ago))


def shown(capsys: pytest.CaptureFixture[str], request: Request) -> list[str]:
    outcome = run(request)
    assert outcome.exit_code == 0
    return capsys.readouterr().out.splitlines()


ALL = Request(None, None)


def test_services_are_interleaved_by_what_their_lines_say(
    stack: StackPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    write(stack, "engine", "banner", f"(APIServer pid=1) INFO {clock(30)} [x.py:1] first", "Traceback", f"(C pid=2) ERROR {clock(10)} [y] third")  # fmt: skip
    write(stack, "gateway", f"{clock(20, '%H:%M:%S')} - LiteLLM:INFO: second", "INFO: 200 OK")
    assert [each.split()[-1] for each in shown(capsys, ALL)] == [
        "banner",
        "first",
        "Traceback",
        "second",
        "OK",
        "third",
    ]
    assert shown(capsys, ALL)[0] == "engine  | banner"


def test_newest_lines_of_each(stack: StackPaths, capsys: pytest.CaptureFixture[str]) -> None:
    write(stack, "engine", *(f"e{number}" for number in range(500)))
    write(stack, "gateway", *(f"g{number}" for number in range(3)))
    assert len(shown(capsys, ALL)) == 103
    assert shown(capsys, Request(None, None, "engine", tail=2)) == ["engine | e498", "engine | e499"]
    assert shown(capsys, Request(None, None, tail=0)) == []


@pytest.mark.parametrize("since", ["60s", "1m", "%Y-%m-%dT%H:%M:%S"])
def test_since(stack: StackPaths, capsys: pytest.CaptureFixture[str], since: str) -> None:
    since = time.strftime(since, time.localtime(time.time() - 60))
    old = [f"INFO {clock(7200)} [x] old {number}" for number in range(5)]
    new = [f"INFO {clock(5)} [x] new {number}" for number in range(300)]
    write(stack, "engine", *old, *new)
    found = shown(capsys, Request(None, None, since=since))
    assert len(found) == 300
    assert all("new" in each for each in found)
    assert len(shown(capsys, Request(None, None, since=since, tail=7))) == 7


def test_a_time_of_day_later_than_the_file_is_of_the_day_before(stack: StackPaths) -> None:
    write(stack, "gateway", f"{clock(-3600, '%H:%M:%S')} - LiteLLM: an hour from now is yesterday")
    at = run(Request(None, None, as_json=True)).data["lines"][0]["at"]
    assert at == pytest.approx(time.time() - 23 * 3600, abs=60)


@pytest.mark.parametrize("since", ["", "yesterday", "10", "-5m", "1w"])
def test_a_bad_time_is_said_so(stack: StackPaths, since: str) -> None:
    if since:
        with pytest.raises(ConfigError, match="neither"):
            run(Request(None, None, since=since))
    else:
        write(stack, "engine", "x")
        assert len(run(Request(None, None, since=since, as_json=True)).data["lines"]) == 1


def test_unknown_and_missing(stack: StackPaths) -> None:
    with pytest.raises(ConfigError, match="engine, gateway, supervisor"):
        run(Request(None, None, "motor"))
    with pytest.raises(NotRunningError):
        run(ALL)
    with pytest.raises(NotRunningError):
        run(Request("other", None, follow=True))


SECRETS = [
    KEY,
    "sk-ant-api03-abcdefghijkl_mnop",
    "Authorization: Bearer abc.def-ghi_jklm",
    "'api_key': ['my secret'] 'api_key': ['mysecretkey']",
    "hf_abcdefghijklmnopqrstuv",
    "http://me:hunter2hunter2@host/",
    "f" * 64,
]


def test_secrets_do_not_show(stack: StackPaths, capsys: pytest.CaptureFixture[str]) -> None:
    with open(stack.client_key, "w") as key:
        key.write("an odd key of nine words\n")
    write(
        stack,
        "engine",
        *SECRETS,
        "with an odd key of nine words in it",
        "max_tokens: 256, \x1b[31mred\x1b[0m\x07, 10%\r20%\r30% done",
    )
    text = "\n".join(shown(capsys, ALL))
    for secret in ("abab", "api03", "abc.def", "mysecretkey", "abcdefghij", "hunter2", "ffff", "odd key"):
        assert secret not in text
    assert "http://me:<redacted>@host/" in text
    assert text.splitlines()[-1] == "engine | 30% done"
    assert "\x1b" not in text


def test_harmless_lines_stay_as_they_are() -> None:
    clean = redact.cleaner(["", "short"])
    for line in (
        "max_tokens: 256 short token_count=12 sha a1b2c3d4e5",
        "task-based skip of sk- and Bearer of news",
        'INFO: 127.0.0.1:1 - "POST /v1/messages HTTP/1.1" 200 OK\tend',
    ):
        assert clean(line) == line


def test_the_environment_of_a_process_tells_its_secrets() -> None:
    env = {"VLLM_API_KEY": "engine-key-1", "HF_TOKEN": "token-2", "PATH": "/bin", "KEYBOARD": "us-intl"}
    with subprocess.Popen(["/bin/sleep", "60"], env=env) as sleeper:
        try:
            deadline = time.monotonic() + 30
            while not redact.secrets_of(sleeper.pid) and time.monotonic() < deadline:
                time.sleep(0.01)  # it has yet to become `sleep`
            assert redact.secrets_of(sleeper.pid) == {"engine-key-1", "token-2"}
        finally:
            sleeper.kill()
    assert redact.secrets_of(2**22 + 1) == set()


def test_json_is_one_document(stack: StackPaths) -> None:
    write(stack, "engine", f"INFO {clock(60)} [x] {KEY}")
    data = run(Request(None, None, as_json=True)).data
    assert data["name"] == "default"
    assert data["lines"][0]["service"] == "engine"
    assert data["lines"][0]["text"].endswith("sk-<redacted>")


@pytest.mark.parametrize("as_json", [False, True])
def test_following_from_the_command_line_with_a_broken_configuration(
    stack: StackPaths, tmp_path: Path, as_json: bool
) -> None:
    (tmp_path / "stack.yaml").write_text("engines: [")
    write(stack, "engine", "before")
    argv = [sys.executable, "-m", "stackctl", "logs", "-f", *(["--json"] if as_json else [])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None

        def next_line() -> str:
            assert follower.stdout is not None
            line = follower.stdout.readline()
            return json.loads(line)["data"]["text"] if as_json else line.partition(" | ")[2].rstrip()

        assert next_line() == "before"
        write(stack, "gateway", f"a new file with {KEY}")
        assert next_line() == "a new file with sk-<redacted>"
        os.truncate(stack.log("engine"), 0)
        write(stack, "engine", "cut")
        assert next_line() == "cut"
        follower.stdout.close()  # `stackctl logs -f | head`
        assert follower.wait(10) == 1
