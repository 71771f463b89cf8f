"""A LiteLLM that was started before its file was changed is told from one that has read it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from stackctl.checks.facts import Facts
from stackctl.checks.handmade import running
from stackctl.config import Flags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SERVER = """
import http.server
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server that was started with a file, named from its own directory."""
    (tmp_path / "litellm_config.yaml").write_text("model_list: []\n")
    argv = [sys.executable, "-c", _SERVER, "--config=litellm_config.yaml"]
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def found(url: str, file: Path) -> list[str]:
    facts = Facts({}, str(file.parent), str(file.parent), Flags(), False, url_target=url, hand_file=str(file))
    return [each.id for each in running.current(facts)]


def test_a_file_that_is_newer_than_its_reader_is_named(server: str, tmp_path: Path) -> None:
    file = tmp_path / "litellm_config.yaml"
    assert found(server, file) == []
    later = time.time() + 60
    os.utime(file, (later, later))
    assert found(server, file) == ["gateway.file-newer"]


def test_another_file_or_another_server_is_no_matter(server: str, tmp_path: Path) -> None:
    later = time.time() + 60
    other = tmp_path / "other.yaml"
    other.write_text("model_list: []\n")
    os.utime(other, (later, later))
    assert found(server, other) == []
    assert found("http://example.invalid:4000", other) == []
