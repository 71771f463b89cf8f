"""Chat templates out of vLLM's source distribution: from the user's own sources, whole or not at all, nothing run."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import os
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

from stackctl import chat_templates, planning
from stackctl.catalog import families
from stackctl.config import EngineConfig, Loaded, StackConfig
from stackctl.errors import PreflightError
from tests.fakes import machines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "examples/tool_chat_template_gemma4.jinja"
TEMPLATE = b"{{ tools }}"
RAN = 'open(__import__("os").environ["HOME"] + "/ran", "w").close()\n'


def source(content: bytes = TEMPLATE) -> bytes:
    """A source distribution whose build would leave a mark."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, text in {
            "PKG-INFO": b"Metadata-Version: 2.1\nName: vllm\nVersion: 9.9.0\n",
            "backend.py": RAN.encode(),
            "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            NAME: content,
            "examples/other.jinja": b"not wanted",
        }.items():
            member = tarfile.TarInfo(f"vllm-9.9.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return raw.getvalue()


class Index(http.server.BaseHTTPRequestHandler):
    """A package index; with `user`, for those who know it."""

    content = b""
    user = ""
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        known = f"Basic {base64.b64encode(self.user.encode()).decode()}"
        if self.user and self.headers.get("Authorization") != known:
            return self.answer(401, b"")
        if self.path == "/simple/vllm/":
            return self.answer(200, b'<a href="/files/vllm-9.9.0.tar.gz">vllm-9.9.0.tar.gz</a>')
        return self.answer(200, self.content) if self.path == "/files/vllm-9.9.0.tar.gz" else self.answer(404, b"")

    do_HEAD = do_GET  # noqa: N815 - the base class's naming

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if body.startswith(b"<") else "application/gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An index on loopback, which is the only source."""
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STACKCTL_ENVS", raising=False)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    Index.content, Index.user, Index.seen = source(), "", []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/simple")
    files = {NAME: hashlib.sha256(TEMPLATE).hexdigest()}
    sha256 = hashlib.sha256(Index.content).hexdigest()
    made = chat_templates.Record(schema=1, package="vllm", version="9.9.0", size=1000, sha256=sha256, files=files)
    monkeypatch.setattr(chat_templates, "record", lambda: made)
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def ensure(said: list[str] | None = None) -> str:
    return chat_templates.ensure(NAME, "main", on_progress=(said if said is not None else []).append)


def test_a_template_is_taken_from_the_source_once_and_nothing_of_it_is_run(index: str, tmp_path: Path) -> None:
    said: list[str] = []
    path = ensure(said)
    with open(path, "rb") as stream:
        assert stream.read() == TEMPLATE
    assert sorted(os.listdir(os.path.dirname(path))) == ["stackctl-env.json", "tool_chat_template_gemma4.jinja"]
    assert len(said) == 1
    assert not (tmp_path / "ran").exists()
    asked = len(Index.seen)
    assert ensure() == path
    assert len(Index.seen) == asked, "it is here: no network"


def test_a_file_in_a_directory_of_wheels_does_too(index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "vllm-9.9.0.tar.gz").write_bytes(Index.content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    assert os.path.isfile(ensure())
    assert Index.seen == []
    assert not (tmp_path / "ran").exists()


def test_a_password_for_the_index_is_used_for_its_file(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Index.user = "joe:c4n@ry"
    monkeypatch.setenv("PIP_INDEX_URL", f"http://joe:c4n%40ry@{index}/simple")
    assert os.path.isfile(ensure())


def fails(says: str) -> None:
    with pytest.raises(PreflightError) as caught:
        ensure()
    assert says in caught.value.message
    assert "tool_chat_template_gemma4.jinja" in caught.value.message
    assert "engines.main.args: {chat-template: FILE}" in caught.value.remedy
    left = [name for name in os.listdir(os.path.dirname(chat_templates.directory())) if not name.endswith(".lock")]
    assert left == [], "whole or not at all"


def test_no_network_is_said_with_what_to_do(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    fails("the package index cannot be reached")


def test_another_file_under_its_name_is_refused(index: str) -> None:
    Index.content = source(b"{{ evil }}")
    fails("its hash differs")


def test_an_index_without_the_source_is_said(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{index}/nothing")
    fails("lack")


def test_a_file_of_the_source_that_is_another_one_is_refused(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = chat_templates.Record(
        schema=1,
        package="vllm",
        version="9.9.0",
        size=1000,
        sha256=hashlib.sha256(Index.content).hexdigest(),
        files={NAME: "0" * 64},
    )
    monkeypatch.setattr(chat_templates, "record", lambda: made)
    fails("is not the one that was reviewed")


def test_every_template_that_a_row_names_is_in_the_record_and_no_other() -> None:
    named = {
        each for row in families.catalogue().families for each in (row.chat_template, row.chat_template_hf_mode) if each
    }
    assert named <= chat_templates.record().files.keys()
    assert all(len(sha256) == 64 for sha256 in chat_templates.record().files.values())
    assert len({os.path.basename(name) for name in chat_templates.record().files}) == len(chat_templates.record().files)


@pytest.mark.parametrize(
    ("model", "args", "expected"),
    [
        ("google/gemma-4-31B-it", {}, "tool_chat_template_gemma4.jinja"),
        ("RedHatAI/Devstral-Small-2507-FP8-dynamic", {}, "tool_chat_template_mistral_parallel.jinja"),
        ("mistralai/Devstral-Small-2507", {}, ""),
        ("openai/gpt-oss-20b", {}, ""),
        ("google/gemma-4-31B-it", {"chat-template": "/mine.jinja"}, "/mine.jinja"),
    ],
)
def test_a_plan_names_the_template_that_its_family_needs(
    model: str, args: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    given = EngineConfig(model=model, args=args)
    plan = planning.decide(
        Loaded(StackConfig(engines={"main": given}), {"main": given}, None), machines.host("8x80")
    ).plan
    argv = plan.engine.argv
    found = argv[argv.index("--chat-template") + 1] if "--chat-template" in argv else ""
    assert os.path.basename(found) == os.path.basename(expected)
    if expected and not args:
        assert os.path.dirname(found) == chat_templates.directory()
        assert plan.engine.chat_template
        fact = next(each for each in plan.facts if each.name == "--chat-template")
        assert fact.origin == "catalogue"
        assert "of vLLM's source" in fact.detail
    else:
        assert not plan.engine.chat_template, "nothing is fetched"
