"""A LiteLLM that was started before its file was changed is told from one that has read it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from stackctl.checks import lanes
from stackctl.checks.facts import Facts
from stackctl.checks.handmade import running, settings
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
    env = {**os.environ, "ONLY_THERE": "sk-only-there-0123456789"}
    with subprocess.Popen(argv, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as process:
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


def test_another_file_is_named_and_another_server_is_no_matter(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 60
    other = tmp_path / "other.yaml"
    other.write_text("model_list: []\n")
    os.utime(other, (later, later))
    assert found(server, other) == ["gateway.other-file"]
    assert found("http://example.invalid:4000", other) == []
    just_the_file = Facts({}, str(tmp_path), str(tmp_path), Flags(), True, hand_file=str(other))
    monkeypatch.setattr(lanes, "LITELLM", server)
    assert list(running.current(just_the_file)) == []
    link = tmp_path / "link.yaml"
    link.symlink_to(tmp_path / "litellm_config.yaml")
    assert found(server, link) == []


def missing(url: str, file: Path, variable: str, **environ: str) -> list[str]:
    """What is said of a master key that is a reference to a variable."""
    config = {"general_settings": {"master_key": f"os.environ/{variable}"}}
    place = str(file.parent)
    facts = Facts(environ, place, place, Flags(), False, url_target=url, hand_file=str(file), hand_config=config)
    return [each.cause for each in settings.secrets(facts)]


def test_what_a_litellm_was_started_with_counts_and_not_this_shell(server: str, tmp_path: Path) -> None:
    file = tmp_path / "litellm_config.yaml"
    assert missing(server, file, "ONLY_THERE") == []
    (said,) = missing(server, file, "ONLY_HERE", ONLY_HERE="sk-only-here-0123456789")
    assert said == "$ONLY_HERE, which general_settings.master_key refers to, is not set where LiteLLM was started"
    (tmp_path / ".env").write_text("ONLY_HERE=sk-in-the-file-0123456789\n")
    assert missing(server, file, "ONLY_HERE") == []


def test_where_none_runs_this_shell_counts(tmp_path: Path) -> None:
    file = tmp_path / "litellm_config.yaml"
    file.write_text("model_list: []\n")
    (said,) = missing("http://127.0.0.1:9", file, "ONLY_THERE")
    assert "is not set in this shell" in said
    assert missing("http://127.0.0.1:9", file, "HERE", HERE="sk-here-0123456789") == []
