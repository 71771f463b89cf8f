"""Models from a hub on loopback: real HTTP, the real hub library, real files."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from stackctl import fetch
from stackctl.errors import PREFLIGHT, PreflightError, StackError
from stackctl.hub import cache, fetched, transfer
from tests.fakes.hub import COMMIT, Hub, Repo

if TYPE_CHECKING:
    from pathlib import Path

NAME = "acme/tiny"
WEIGHTS = os.urandom(3 * 1024 * 1024 + 17)
BIG = os.urandom(24 * 1024 * 1024 + 5)
FILES = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}',
    "tokenizer.json": b"{}",
    "README.md": b"# tiny",
    "model.safetensors": WEIGHTS,
}


@pytest.fixture(autouse=True)
def own_hub_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGINGFACE_", "HUGGING_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hf"


def get(hub: Hub | str, name: str = NAME, revision: str | None = None) -> tuple[str, list[transfer.Progress]]:
    seen: list[transfer.Progress] = []
    os.environ["HF_ENDPOINT"] = hub if isinstance(hub, str) else hub.url
    try:
        return fetch.model(name, revision=revision, on_progress=seen.append), seen
    finally:
        del os.environ["HF_ENDPOINT"]


def content(directory: str) -> dict[str, bytes]:
    found = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as stream:
            found[name] = stream.read()
    return found


def test_a_model_arrives_whole_in_the_hubs_own_cache_and_needs_no_network_again() -> None:
    with Hub({NAME: Repo(FILES)}) as hub:
        directory, seen = get(hub)
    assert content(directory) == FILES
    assert directory == os.path.join(cache.cache_dir(), "models--acme--tiny", "snapshots", COMMIT)
    assert seen[-1].bytes_done == seen[-1].bytes_total == sum(map(len, FILES.values()))
    assert get("http://127.0.0.1:9")[0] == directory
    assert fetch.cached(NAME) == directory
    assert fetch.cached(NAME, COMMIT) == directory


def test_what_stackctl_fetched_is_recorded_and_what_was_there_before_is_not() -> None:
    with Hub({NAME: Repo(FILES), "acme/other": Repo(FILES)}) as hub:
        os.makedirs(os.path.join(cache.repo_dir("acme/other"), "blobs"))  # by another program
        get(hub)
        get(hub, "acme/other")
    recorded = fetched.known_models()
    assert [(each.model, each.directory) for each in recorded] == [(NAME, cache.repo_dir(NAME))]


def test_other_weights_are_left_out_and_the_offline_snapshot_still_counts_as_whole() -> None:
    files = {
        **FILES,
        "pytorch_model.bin": b"x" * 999,
        "original/consolidated.pth": b"y" * 999,
        "original/params.json": b"{}",
    }
    with Hub({NAME: Repo(files)}) as hub:
        directory, _ = get(hub)
    assert not os.path.exists(os.path.join(directory, "pytorch_model.bin"))
    assert not os.path.exists(os.path.join(directory, "original", "consolidated.pth"))
    assert os.path.exists(os.path.join(directory, "original", "params.json"))
    from huggingface_hub import snapshot_download

    # What vLLM asks of the cache when it is offline (transformers_utils/repo_utils.py).
    assert snapshot_download(
        NAME, local_files_only=True, cache_dir=cache.cache_dir(), ignore_patterns=list(cache.OTHER_WEIGHTS)
    )


def test_a_large_file_is_resumed_after_dropped_connections() -> None:
    with Hub({NAME: Repo({**FILES, "model.safetensors": BIG})}, cut_after=8 * 1024 * 1024, cuts=2) as hub:
        directory, seen = get(hub)
    assert content(directory)["model.safetensors"] == BIG
    starts = [int(each.removeprefix("bytes=").rstrip("-")) for each in hub.ranges() if each]
    assert len(starts) == 2
    assert starts[0] >= 8 * 1024 * 1024
    assert starts[1] > starts[0]
    assert all(one.bytes_done <= two.bytes_done for one, two in itertools.pairwise(seen))


def test_a_killed_download_is_resumed_by_the_next_run() -> None:
    with Hub({NAME: Repo({**FILES, "model.safetensors": BIG})}, rate=8 * 1024 * 1024) as hub:
        program = f"from stackctl import fetch; fetch.model({NAME!r}, revision=None, on_progress=lambda at: None)"
        child = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "HF_ENDPOINT": hub.url})
        partial = os.path.join(cache.repo_dir(NAME), "blobs")
        deadline = time.monotonic() + 30
        while not any(
            each.endswith(".partial") and os.path.getsize(os.path.join(partial, each)) > 4 * 1024 * 1024
            for each in (os.listdir(partial) if os.path.isdir(partial) else [])
        ):
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert fetch.cached(NAME) is None
        hub.rate = 0
        directory, _ = get(hub)
        resumed = [each for each in hub.ranges() if each]
    assert content(directory)["model.safetensors"] == BIG
    assert len(resumed) == 1
    assert int(resumed[0].removeprefix("bytes=").rstrip("-")) > 4 * 1024 * 1024
    assert not [each for each in os.listdir(partial) if each.endswith((".partial", ".incomplete"))]


def test_a_mirror_without_ranges_still_gives_the_whole_file() -> None:
    with Hub(
        {NAME: Repo({**FILES, "model.safetensors": BIG})}, cut_after=20 * 1024 * 1024, cuts=1, no_ranges=True
    ) as hub:
        directory, seen = get(hub)
    assert content(directory)["model.safetensors"] == BIG
    assert seen[-1].bytes_done == seen[-1].bytes_total


def test_a_changed_file_is_refused_and_not_kept() -> None:
    with (
        Hub({NAME: Repo({**FILES, "model.safetensors": BIG})}, corrupt=True) as hub,
        pytest.raises(StackError) as caught,
    ):
        get(hub)
    assert "hash differs" in caught.value.message
    assert fetch.cached(NAME) is None
    assert not [each for each in os.listdir(os.path.join(cache.repo_dir(NAME), "blobs")) if "partial" in each]


def test_ctrl_c_ends_a_slow_download_at_once() -> None:
    with Hub({NAME: Repo({**FILES, "model.safetensors": BIG})}, rate=256 * 1024) as hub:
        program = (
            "import sys\nfrom stackctl import fetch\n"
            f"fetch.model({NAME!r}, revision=None, on_progress=lambda at: print(at.text, flush=True))"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "HF_ENDPOINT": hub.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for line in child.stdout:
            if "B/s" in line:
                break
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert time.monotonic() - began < 30  # the rest of the file would take 90


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects() -> None:
    with Hub({NAME: Repo({**FILES, "model.safetensors": BIG}, private=True, token="hf_canary")}) as hub:
        get(hub)
    assert {each.authorization for each in hub.requests if each.server == "hub"} == {"Bearer hf_canary"}
    assert {each.authorization for each in hub.requests if each.server == "cdn"} == {""}


@pytest.mark.parametrize("token", ["", "hf_canary"])
def test_a_gated_model_says_where_to_accept_its_licence(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with (
        Hub({NAME: Repo({**FILES, "model.safetensors": BIG}, gated=True, token="other")}) as hub,
        pytest.raises(PreflightError) as caught,
    ):
        get(hub)
    assert "gated" in caught.value.message
    assert f"{hub.url}/{NAME}" in caught.value.remedy
    assert "HF_TOKEN" in caught.value.remedy
    assert caught.value.exit_code == PREFLIGHT


@pytest.mark.parametrize("token", ["", "hf_canary"])
def test_an_unknown_model_asks_to_check_the_spelling(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with Hub({}) as hub, pytest.raises(PreflightError) as caught:
        get(hub, "acme/tinny")
    assert "acme/tinny" in caught.value.message
    assert "spelling" in caught.value.remedy
    assert not os.path.exists(cache.repo_dir("acme/tinny"))


def test_a_wrong_token_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with Hub({NAME: Repo(FILES)}) as hub, pytest.raises(PreflightError, match="refuses the token") as caught:
        get(hub)
    assert "hf_wrong" not in f"{caught.value.message} {caught.value.remedy} {caught.value.evidence}"


def test_an_unknown_revision_is_named() -> None:
    with Hub({NAME: Repo(FILES)}) as hub, pytest.raises(PreflightError, match="no revision 'v9'"):
        get(hub, revision="v9")


def test_no_network_says_so() -> None:
    with pytest.raises(StackError, match="cannot be reached") as caught:
        get("http://127.0.0.1:9")
    assert not isinstance(caught.value, PreflightError)
    assert "HF_ENDPOINT" in caught.value.remedy


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "no safetensors weights; pickled"),
        ({"config.json": b"{}", "tiny.Q4.gguf": b"x"}, "GGUF"),
        ({"adapter_model.safetensors": b"x"}, "no config.json"),
    ],
)
def test_what_vllm_does_not_load_is_refused_before_the_download(files: dict[str, bytes], words: str) -> None:
    with Hub({NAME: Repo(files)}) as hub, pytest.raises(PreflightError, match=words):
        get(hub)
    assert not [each for each in hub.requests if "/resolve/" in each.path]


def test_a_full_disk_is_found_before_the_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackctl.hub.download._SPARE", 10**18)
    with Hub({NAME: Repo(FILES)}) as hub, pytest.raises(PreflightError, match="GB are free on the disk") as caught:
        get(hub)
    assert "HF_HOME" in caught.value.remedy
    assert not [each for each in hub.requests if "/resolve/" in each.path]


def test_a_snapshot_that_lacks_a_shard_is_not_taken_for_whole(own_hub_home: Path) -> None:
    snapshot = own_hub_home / "hub" / "models--acme--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    refs = own_hub_home / "hub" / "models--acme--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text("{}")
    index: dict[str, Any] = {
        "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    }
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    (snapshot / "model-00001-of-00002.safetensors").write_bytes(b"x")
    assert fetch.cached(NAME) is None
    (snapshot / "model-00002-of-00002.safetensors").write_bytes(b"x")
    assert fetch.cached(NAME) == str(snapshot)


@pytest.mark.parametrize("name", ["/models/x", "./x", "../x", "~/x", "a/b/c"])
def test_paths_are_not_hub_ids(name: str) -> None:
    assert fetch.is_local(name)


def test_hub_ids_are_not_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not fetch.is_local("Qwen/Qwen3-8B")
    assert not fetch.is_local("gpt2")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, "does not exist"),
        ([], "no config.json"),
        (["config.json", "model.safetensors"], "no tokenizer"),
        (["config.json", "tokenizer.json"], "no weights"),
        (["config.json", "tokenizer.json", "pytorch_model.bin"], "pickled"),
        (["config.json", "tokenizer.json", "x.gguf"], "GGUF"),
        (["config.json", "tokenizer.json", "model-00001-of-00003.safetensors"], "lacks 2 of its weight files"),
    ],
)
def test_a_model_on_disk_must_be_whole_and_safe(tmp_path: Path, files: list[str] | None, words: str) -> None:
    directory = tmp_path / "m"
    if files is not None:
        directory.mkdir()
        for name in files:
            (directory / name).write_text("{}")
    with pytest.raises(PreflightError, match=words) as caught:
        fetch.check_local(str(directory))
    assert caught.value.remedy


def test_a_whole_model_on_disk_is_fine(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    fetch.check_local(str(tmp_path))
    assert fetch.model(str(tmp_path), revision=None, on_progress=print) == str(tmp_path)
