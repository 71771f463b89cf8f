"""What is damaged in the hub's cache is fetched again: just that, at the same revision, or all is as it was before."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stackctl import fetch, repair
from stackctl.checks import facts, modelfiles, runner
from stackctl.config import Flags
from stackctl.errors import StackError
from stackctl.hub import again, origin, transfer
from stackctl.model import Status
from tests.fakes.hub import COMMIT, Hub, Repo
from tests.faults import checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stackctl.model import Finding

NAME = "acme/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one model of two weight files, and the model in the cache."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGINGFACE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)
    made = checkpoints.sharded(tmp_path / "made")
    (made / "merges.txt").write_text("a b\n" * 100)
    files = {each.name: each.read_bytes() for each in made.iterdir()}
    with Hub({NAME: Repo(files)}) as started:
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        fetch.model(NAME, revision=None, on_progress=lambda _: None)
        started.requests.clear()
        yield started


def snapshot() -> Path:
    return Path(os.environ["HF_HOME"]) / "hub" / "models--acme--tiny" / "snapshots" / COMMIT


def tree() -> dict[str, str]:
    """Everything in the cache: contents by their hash, links by where they lead."""
    root = snapshot().parents[1]
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }  # fmt: skip


def look(model: str = NAME) -> tuple[facts.Facts, list[Finding]]:
    """What doctor sees, and says of the model."""
    file = Path("stack.yaml")
    file.write_text(json.dumps({"engines": {"main": {"model": model, "port": 18123}}, "gateway": {"port": 18124}}))
    seen = facts.gather(Flags(config=str(file)), static=True, environ=dict(os.environ))
    found = runner.run(modelfiles.CHECKS, seen, budget=60)
    return seen, [
        each for each in found if each.fix.split(" || ")[0] == "refetch" and each.status in {Status.FAIL, Status.WARN}
    ]


def nothing(words: Sequence[str]) -> None:
    raise AssertionError(f"nothing was to be run: {words}")


def proposed() -> repair.Change:
    seen, (finding,) = look()
    change = repair.propose(seen, finding)
    assert change is not None
    return change


def cut(name: str, to: int = 50) -> None:
    """A file of the snapshot ends early."""
    path = snapshot() / name
    path.write_bytes(path.read_bytes()[:to])


def asked(hub: Hub) -> list[str]:
    """The files that were fetched."""
    return [each.path for each in hub.requests if each.method == "GET" and "/resolve/" in each.path]


SHARD = "model-00002-of-00002.safetensors"


def test_a_cut_file_is_fetched_again_and_nothing_else_is(hub: Hub) -> None:
    whole = tree()
    cut(SHARD)
    change = proposed()
    size = os.path.getsize(Path("made") / SHARD)
    text = "\n".join(repair.shown(change))
    assert f"{SHARD}  ({size:,} bytes)" in text
    assert f"{hub.url}/{NAME} at revision {COMMIT}" in text
    assert hub.requests == []  # the listing was kept: nothing is asked before there is a yes
    repair.apply(change, nothing).keep()
    assert asked(hub) == [f"/{NAME}/resolve/{COMMIT}/{SHARD}"]
    assert tree() == whole
    assert look()[1] == []


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"<html>")


def other(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("merges.txt", lambda path: path.write_bytes(path.read_bytes()[:50])),  # whatever is left of it can be read
        (SHARD, longer),
        (SHARD, other),
        ("config.json", other),
        ("model.safetensors.index.json", lambda path: path.write_text("{")),
    ],
)
def test_each_way_to_be_damaged_is_seen_and_repaired(hub: Hub, name: str, spoil: Callable[[Path], object]) -> None:
    whole = tree()
    spoil(snapshot() / name)
    repair.apply(proposed(), nothing).keep()
    assert asked(hub) == [f"/{NAME}/resolve/{COMMIT}/{name}"]
    assert tree() == whole
    assert look()[1] == []


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", SHARD])
def test_what_was_cleared_away_comes_back(hub: Hub, name: str) -> None:
    whole = tree()
    (snapshot() / name).resolve().unlink()
    repair.apply(proposed(), nothing).keep()
    assert asked(hub) == [f"/{NAME}/resolve/{COMMIT}/{name}"]
    assert tree() == whole


def test_without_a_listing_the_hub_is_asked_for_one(hub: Hub) -> None:
    (snapshot().parents[1] / "trees" / f"{COMMIT}.json").unlink()
    whole = tree()
    (snapshot() / "tokenizer.json").unlink()
    change = proposed()
    assert [each.path for each in hub.requests] == [f"/api/models/{NAME}/revision/{COMMIT}"]
    repair.apply(change, nothing).keep()
    assert asked(hub) == []  # its content was there: only its name had gone
    assert tree() == whole


def test_a_change_of_mind_puts_back_what_was_there(hub: Hub) -> None:
    cut("config.json")
    before = tree()
    applied = repair.apply(proposed(), nothing)
    assert tree() != before
    applied.undo()
    assert tree() == before


def test_a_hub_that_is_away_leaves_all_as_it_was(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    cut("config.json")
    before = tree()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(transfer, "_TRIES", 1)
    with pytest.raises(StackError, match="cannot be reached"):
        repair.apply(proposed(), nothing)
    assert tree() == before


def test_a_file_that_the_hub_has_no_more_leaves_all_as_it_was(hub: Hub) -> None:
    cut("tokenizer.json")
    before = tree()
    del hub.repos[NAME].files["tokenizer.json"]
    with pytest.raises(StackError, match="has a file of acme/tiny no more"):
        repair.apply(proposed(), nothing)
    assert tree() == before


@pytest.mark.parametrize("name", ["tokenizer.json", SHARD])
def test_other_bytes_than_the_hub_names_are_refused(hub: Hub, name: str) -> None:
    cut(name)
    before = tree()
    hub.corrupt = True
    given = hub.repos[NAME].files
    if name == "tokenizer.json":
        given[name] = given[name][:-1] + b" "
    with pytest.raises(StackError, match="its hash differs"):
        repair.apply(proposed(), nothing)
    assert tree() == before


def test_nothing_is_fetched_where_the_user_forbids_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    cut("config.json")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    seen, (finding,) = look()
    with pytest.raises(repair.ImpossibleError, match="HF_HUB_OFFLINE"):
        repair.propose(seen, finding)
    assert hub.requests == []


def test_a_half_model_that_may_not_be_fetched_is_told_with_what_it_lacks(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    (snapshot() / SHARD).resolve().unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    seen, _ = look()
    cache = [each for each in modelfiles.CHECKS if each.id == "model.cache"]
    (found,) = [each for each in runner.run(cache, seen, budget=60) if each.status is Status.FAIL]
    assert (found.id, found.evidence[-1]) == ("model.offline", f"{SHARD}: its content is gone")


def test_a_model_in_a_plain_directory_is_its_owners(hub: Hub) -> None:
    file = Path("made") / "config.json"
    file.write_text("{")
    seen, (finding,) = look(str(Path("made").resolve()))
    assert finding.id == "model.incomplete"
    assert repair.propose(seen, finding) is None


@pytest.fixture
def downloaded(hub: Hub, tmp_path: Path) -> Path:
    """The model in a directory, as `hf download --local-dir` leaves it; whose it is only its name says."""
    from huggingface_hub import HfApi

    place = tmp_path / "models" / "acme--tiny"
    HfApi(endpoint=hub.url, token=False).snapshot_download(NAME, local_dir=place, cache_dir=tmp_path / "cache")
    hub.requests.clear()
    return place


def test_a_directory_that_a_download_filled_is_repaired_where_the_hub_knows_its_commit(
    hub: Hub, downloaded: Path
) -> None:
    whole = (downloaded / "config.json").read_text()
    (downloaded / "config.json").write_text(whole[:50])
    (downloaded / "tokenizer.json").write_text("{}")  # its owner's: nobody complains of it
    seen, (finding,) = look(str(downloaded))
    change = repair.propose(seen, finding)
    assert change is not None
    assert [path for path in (each.path for each in hub.requests) if "acme/tiny" in path] == [
        f"/api/models/{NAME}/revision/{COMMIT}"
    ]
    repair.apply(change, nothing).keep()
    assert (downloaded / "config.json").read_text() == whole
    assert (downloaded / "config.json.broken").read_text() == whole[:50]
    assert (downloaded / "tokenizer.json").read_text() == "{}"
    assert asked(hub) == [f"/{NAME}/resolve/{COMMIT}/config.json"]


def test_a_directory_that_the_hub_does_not_know_is_left(hub: Hub, downloaded: Path) -> None:
    other = downloaded.rename(downloaded.with_name("my_own"))
    (other / "config.json").write_text("{")
    seen, (finding,) = look(str(other))
    with pytest.raises(repair.ImpossibleError, match=r"asked for models/my_own, my/own"):
        repair.propose(seen, finding)


@pytest.mark.parametrize("packed", [True, False])
def test_a_clone_without_its_large_files_gets_them(hub: Hub, packed: bool) -> None:
    place = Path("made")
    whole = (place / SHARD).read_bytes()
    (place / SHARD).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2097152\n")
    git = place / ".git"
    git.mkdir()
    (git / "config").write_text(f'[remote "origin"]\n\turl = {hub.url}/{NAME}\n')
    (git / "HEAD").write_text("ref: refs/heads/main\n" if packed else f"{COMMIT}\n")
    (git / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/heads/main\n")
    seen, (finding,) = look(str(place.resolve()))
    change = repair.propose(seen, finding)
    assert change is not None
    repair.apply(change, nothing).keep()
    assert (place / SHARD).read_bytes() == whole
    assert asked(hub) == [f"/{NAME}/resolve/{COMMIT}/{SHARD}"]


def test_a_clone_of_another_host_is_not_the_hubs(hub: Hub) -> None:
    git = Path("made") / ".git"
    git.mkdir()
    (git / "config").write_text(f'[remote "origin"]\n\turl = https://git.example/{NAME}\n')
    (git / "HEAD").write_text(f"{COMMIT}\n")
    assert origin.of("made", hub.url) is None


def test_a_listing_cannot_name_files_elsewhere(hub: Hub) -> None:
    file = snapshot().parents[1] / "trees" / f"{COMMIT}.json"
    listing = json.loads(file.read_text())
    listing["files"] = {f"../../{name}": row for name, row in listing["files"].items()}
    file.write_text(json.dumps(listing))
    place = origin.of(str(snapshot()), hub.url)
    assert place is not None
    assert again.damaged(place, "") is None
