"""`env --url`: a gateway on another machine is asked what it serves; the key comes by file or variable."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from stackctl.model import ClientFacts, RouteFacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-stackctl-elsewhere"


class Box(BaseHTTPRequestHandler):
    """What a gateway answers to `GET /v1/models`."""

    rows: object = [
        {"id": "claude-local", "max_input_tokens": 65536, "max_tokens": 16384},
        {"id": "anthropic-local", "max_input_tokens": 65536, "max_tokens": 16384},
        {"id": "Qwen/Real", "max_input_tokens": 65536, "max_tokens": 16384},
    ]
    client: object = None  # what one of ours answers to `GET /stackctl/client`

    def do_GET(self) -> None:
        answers = {"/v1/models": {"data": type(self).rows}, "/stackctl/client": type(self).client}
        found = answers.get(self.path)
        known = self.headers.get("authorization") == f"Bearer {KEY}" and found is not None
        body = json.dumps(found if known else {"error": "no"}).encode()
        self.send_response(200 if known else 403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def box() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Box)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def env(home: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "STACKCTL_HOME": str(home / "state"), **extra}
    return subprocess.run(
        [sys.executable, "-m", "stackctl", "env", *arguments],
        env=variables, cwd=home, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["", "/", "/v1", "/v1/"])
def test_the_box_says_what_it_serves(box: str, tmp_path: Path, form: str) -> None:
    got = env(tmp_path, "--url", box + form, "--shell", "json", STACKCTL_KEY=KEY)
    assert got.returncode == 0, got.stderr
    found = json.loads(got.stdout)["data"]["env"]
    assert found["ANTHROPIC_BASE_URL"] == box
    assert found["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert found["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "65536"
    assert found["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "16384"
    assert "Qwen/Real" in found["ANTHROPIC_CUSTOM_MODEL_OPTION_DESCRIPTION"]
    assert not (tmp_path / "state").exists()


def test_a_gateway_of_ours_tells_its_routes(box: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    route = RouteFacts("haiku", "claude-local-haiku", "acme/small", "attic", 16384, 4096)
    facts = ClientFacts("http://127.0.0.1:4000", "claude-local", "Qwen/Real", 65536, 16384, 900, (route,))
    monkeypatch.setattr(Box, "client", {name: value for name, value in asdict(facts).items() if name != "url"})
    got = env(tmp_path, "--url", box, "--shell", "json", STACKCTL_KEY=KEY)
    found = json.loads(got.stdout)["data"]["env"]
    assert found["ANTHROPIC_BASE_URL"] == box
    assert found["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "claude-local-haiku"
    assert found["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "claude-local"
    assert found["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "16384"
    assert found["API_TIMEOUT_MS"] == "900000"


def test_the_key_can_be_in_a_file_and_openai_clients_get_the_models_own_name(box: str, tmp_path: Path) -> None:
    (tmp_path / "box.key").write_text(KEY + "\n")
    got = env(tmp_path, "--url", box, "--key-file", "box.key", "--client", "opencode", "--shell", "json")
    found = json.loads(got.stdout)["data"]["env"]
    assert json.loads(found["OPENCODE_CONFIG_CONTENT"])["model"] == "stackctl/Qwen/Real"


def test_a_wrong_key_and_no_key(box: str, tmp_path: Path) -> None:
    wrong = env(tmp_path, "--url", box, STACKCTL_KEY="sk-wrong")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "refuses the key" in wrong.stderr
    none = env(tmp_path, "--url", box)
    assert (none.returncode, none.stdout) == (2, "")
    assert "$STACKCTL_KEY" in none.stderr
    missing = env(tmp_path, "--url", box, "--key-file", "nowhere")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "nowhere cannot be read: No such file" in missing.stderr
    for got in (wrong, none, missing):
        assert KEY not in got.stderr


@pytest.mark.parametrize(
    "url", ["box:4000", "ftp://box", "http://", "http://box:port", "http://box/v2", "http://box?x=1", "http://[::1"],
)  # fmt: skip
def test_what_is_no_address(tmp_path: Path, url: str) -> None:
    got = env(tmp_path, "--url", url, STACKCTL_KEY=KEY)
    assert (got.returncode, got.stdout) == (2, ""), got.stderr
    assert "is not the address of a gateway" in got.stderr


def test_a_password_in_the_address_is_refused_and_not_shown(tmp_path: Path) -> None:
    got = env(tmp_path, "--url", "http://u:hunter2@box", STACKCTL_KEY=KEY)
    assert (got.returncode, got.stdout) == (2, "")
    assert "has a password in it" in got.stderr
    assert "hunter2" not in got.stderr


def test_nobody_there_is_said_within_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        got = env(tmp_path, "--url", url, STACKCTL_KEY=KEY)
        took = time.monotonic() - began
    assert (got.returncode, got.stdout) == (4, "")
    assert took < 30
    gone = env(tmp_path, "--url", url, STACKCTL_KEY=KEY)
    assert (gone.returncode, gone.stdout) == (4, "")


@pytest.mark.parametrize("rows", [[], None, "x", [{"id": 5}], ["claude-local"]])
def test_something_else_that_answers(box: str, tmp_path: Path, rows: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Box, "rows", rows)
    got = env(tmp_path, "--url", box, STACKCTL_KEY=KEY)
    assert (got.returncode, got.stdout) == (1, "")
    assert "not a gateway of stackctl" in got.stderr


def test_a_key_file_without_an_address(tmp_path: Path) -> None:
    got = env(tmp_path, "--key-file", "x")
    assert got.returncode == 2
    assert "--key-file goes with --url" in got.stderr
