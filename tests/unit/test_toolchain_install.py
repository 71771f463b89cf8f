"""Installing with real uv from wheels made on the spot: whole or not at all, and failures with their cause."""

from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from stackctl import toolchain
from stackctl.errors import PreflightError, StackError
from stackctl.model import ServiceKind
from stackctl.toolchain import atomic, builds, marker
from stackctl.toolchain.builds import Build
from stackctl.toolchain.environment import managed
from stackctl.toolchain.progress import Narrator
from tests.fakes.wheels import wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No source but the wheels of this test."""
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STACKCTL_ENVS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """A managed environment of one small package."""
    sha = wheel(tmp_path, "tiny", "1.0", {"tiny.py": "def main():\n    print('tiny runs')\n"})
    return use(tmp_path, monkeypatch, f"tiny==1.0 --hash=sha256:{sha}\n")


def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str, accelerator: str = "") -> Build:
    path = tmp_path / "lock.txt"
    path.write_text(lock)
    builds.digest.cache_clear()
    row = Build(ServiceKind.GATEWAY, accelerator, "tiny", "1.0", str(path), disk=0, download=0, glibc={})
    monkeypatch.setattr(builds, "BUILDS", (row,))
    return row


def envs(tmp_path: Path) -> list[str]:
    found = sorted(os.listdir(tmp_path / "state" / "envs")) if (tmp_path / "state" / "envs").exists() else []
    return [name for name in found if not name.endswith(".lock")]


def failure(build: Build) -> StackError:
    with pytest.raises(StackError) as caught:
        toolchain.install(managed(build), on_progress=lambda line: None)
    error = caught.value
    assert error.remedy
    return error


def test_an_environment_is_made_compiled_marked_and_found_again(build: Build, tmp_path: Path) -> None:
    said: list[str] = []
    found = toolchain.install(managed(build), on_progress=said.append)
    assert found.installed
    assert found == managed(build)
    assert said[0] == "Installing tiny 1.0"
    assert any(line.startswith("Installed 1 package") for line in said)
    (name,) = envs(tmp_path)
    root = tmp_path / "state" / "envs" / name
    facts = json.loads((root / marker.NAME).read_text())
    assert (facts["package"], facts["version"]) == ("tiny", "1.0")
    assert list((root / "lib").rglob("tiny.*.pyc"))
    # Scripts hold no path of the temporary directory that they were made in.
    done = subprocess.run([root / "bin" / "tiny"], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (0, "tiny runs\n"), done.stderr
    assert (root.stat().st_mode & 0o777) == 0o700
    said.clear()
    assert toolchain.install(managed(build), on_progress=said.append) == found
    assert said == []


def test_another_lock_is_another_environment(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain.install(managed(build), on_progress=lambda line: None)
    with open(build.lock, encoding="utf-8") as stream:
        other = use(tmp_path, monkeypatch, f"# reviewed again\n{stream.read()}")
    assert not managed(other).installed


def test_two_installs_at_once_make_one(build: Build, tmp_path: Path) -> None:
    said: list[str] = []
    errors: list[BaseException] = []

    def one() -> None:
        try:
            toolchain.install(managed(build), on_progress=said.append)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert said.count("Installing tiny 1.0") == 1
    assert len(envs(tmp_path)) == 1


def test_a_wrong_hash_is_refused_and_leaves_nothing(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = failure(use(tmp_path, monkeypatch, f"tiny==1.0 --hash=sha256:{'0' * 64}\n"))
    assert "hash differs" in error.message
    assert envs(tmp_path) == []


def test_no_torch_for_cpus_is_said_and_pytorchs_index_is_not_asked_with_no_index(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = failure(use(tmp_path, monkeypatch, "torch==2.13.0+cpu\n", accelerator="cpu"))
    assert "torch for CPUs" in error.message
    assert "find-links" in error.remedy


def test_a_package_that_the_sources_lack_is_said(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = failure(use(tmp_path, monkeypatch, "nothere==9.9\n"))
    assert "lack one of the pinned packages" in error.message
    assert any("nothere" in line for line in error.evidence)


def test_no_network_is_said(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    error = failure(use(tmp_path, monkeypatch, "nothere==9.9\n"))
    assert "cannot be reached" in error.message


class _Refusing(http.server.BaseHTTPRequestHandler):
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def refusing() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    _Refusing.seen = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_password_reaches_the_index_and_neither_argv_nor_messages(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: http.server.ThreadingHTTPServer
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://joe:c4nary@127.0.0.1:{refusing.server_address[1]}/simple")
    argvs: list[str] = []
    from stackctl import process

    run = process.run

    def watched(argv: list[str], **rest: object) -> object:
        argvs.extend(argv)
        return run(argv, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(process, "run", watched)
    error = failure(use(tmp_path, monkeypatch, "nothere==9.9\n"))
    assert base64.b64encode(b"joe:c4nary").decode() in _Refusing.seen[-1]
    assert "c4nary" not in f"{argvs} {error.message} {error.remedy} {error.evidence}"
    assert "refuses access" in error.message


def test_an_environment_that_the_user_named_is_never_installed_into(tmp_path: Path) -> None:
    own = toolchain.Toolchain(
        ServiceKind.ENGINE, "/x/bin/python", "vllm", "", "configured", installed=False, site_packages=()
    )
    with pytest.raises(PreflightError, match="has no vllm installed"):
        toolchain.install(own, on_progress=print)


STAGES = ("begun", "half", "marked")
_KILLED = """
import sys, time
from stackctl.toolchain import atomic, marker
target, stage = sys.argv[1:]
def reached(name):
    if name == stage:
        print(name, flush=True)
        time.sleep(60)
def build(directory):
    reached("begun")
    open(directory + "/half", "w").close()
    reached("half")
    return {}
write = marker.write
def written(*arguments, **facts):
    write(*arguments, **facts)
    reached("marked")
marker.write = written
atomic.make_directory(target, "lock", build, lambda line: None)
"""


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_was_killed_leaves_nothing_that_counts(tmp_path: Path, stage: str) -> None:
    target = str(tmp_path / "envs" / "one")
    child = subprocess.Popen([sys.executable, "-c", _KILLED, target, stage], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == stage
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not os.path.exists(target)

    def build(directory: str) -> dict[str, object]:
        assert os.listdir(directory) == []
        return {}

    began = time.monotonic()
    atomic.make_directory(target, "lock", build, lambda line: None)
    assert time.monotonic() - began < 30  # the lock of the dead is free
    assert os.listdir(target) == [marker.NAME]
    assert sorted(os.listdir(tmp_path / "envs")) == ["one", "one.lock"]


@pytest.mark.parametrize("inside", ["", "not json", '{"lock": "other"}', "[]"])
def test_a_directory_without_a_good_marker_is_made_again(tmp_path: Path, inside: str) -> None:
    target = tmp_path / "one"
    target.mkdir()
    tmp_path.chmod(0o700)
    (target / "rubbish").touch()
    if inside:
        (target / marker.NAME).write_text(inside)
    assert not marker.is_complete(str(target), "lock")
    atomic.make_directory(str(target), "lock", lambda directory: {"made": True}, lambda line: None)
    assert os.listdir(target) == [marker.NAME]
    atomic.make_directory(str(target), "lock", lambda directory: pytest.fail("made twice"), lambda line: None)


def test_a_failed_build_and_a_full_one_by_ctrl_c_leave_nothing(tmp_path: Path) -> None:
    def broken(directory: str) -> dict[str, object]:
        with open(os.path.join(directory, "x"), "w", encoding="utf-8"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic.make_directory(str(tmp_path / "e" / "one"), "lock", broken, lambda line: None)
    assert os.listdir(tmp_path / "e") == ["one.lock"]


def test_large_downloads_are_told_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    narrator = Narrator(said.append)
    for line in (
        "Using CPython 3.11.7",
        "Resolved 148 packages in 701ms",
        "Downloading torch (180.0MiB)",
        "Downloading numpy (16.0MiB)",
        " Downloaded numpy",
        "Downloading triton (200.0MiB)",
        " + numpy==2.3.5",
    ):
        narrator.line(line)
    narrator.beat(10**9)  # something was said a moment ago
    monkeypatch.setattr("stackctl.toolchain.progress._QUIET", 0.0)
    narrator.beat(512 * 10**6)
    assert said == [
        "Resolved 148 packages in 701ms",
        "Downloading torch (189 MB) [0 of 189 MB]",
        "Downloading triton (210 MB) [17 of 415 MB]",
        "Downloading triton, torch [17 of 415 MB], 512 MB unpacked",
    ]


def test_an_extra_index_with_another_file_of_that_name_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that holds part of a release hides the file that the lock wants: the main index alone then has it."""
    wheel(tmp_path, "tiny", "1.0", {"tiny.py": "hollow = True\n"})
    mirror(tmp_path, "extra")
    sha = wheel(tmp_path, "tiny", "1.0", {"tiny.py": "hollow = False\n"})
    mirror(tmp_path, "main")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "main").as_uri())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", (tmp_path / "extra").as_uri())
    said: list[str] = []
    row = use(tmp_path, monkeypatch, f"tiny==1.0 --hash=sha256:{sha}\n")
    found = toolchain.install(managed(row), on_progress=said.append)
    with open(os.path.join(found.site_packages[0], "tiny.py"), encoding="utf-8") as stream:
        assert stream.read() == "hollow = False\n"
    assert any("extra package index" in line for line in said)


def mirror(root: Path, name: str) -> None:
    """A package index on disk that holds what is in `root`/wheels."""
    place = root / name / "tiny"
    place.mkdir(parents=True)
    file = "tiny-1.0-py3-none-any.whl"
    (place / file).write_bytes((root / "wheels" / file).read_bytes())
    (place / "index.html").write_text(f'<html><body><a href="{file}">{file}</a></body></html>')
