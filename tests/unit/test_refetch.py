"""What is damaged in the hub's cache is fetched again: just that, at the same revision, or all is as it was before."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stackctl import fetch, repair
from stackctl.checks import facts, modelfiles, modelkind, runner
from stackctl.config import Flags
from stackctl.errors import StackError
from stackctl.hub import again, transfer
from stackctl.model import Status
from tests.fakes.hub import COMMIT, Hub, Repo
from tests.faults import checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    files = {each.name: each.read_bytes() for each in checkpoints.sharded(tmp_path / "made").iterdir()}
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
    found = runner.run((*modelfiles.CHECKS, *modelkind.CHECKS), seen, budget=60)
    return seen, [each for each in found if each.fix == "refetch" and each.status in {Status.FAIL, Status.WARN}]


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


def test_a_model_in_a_plain_directory_is_its_owners(hub: Hub) -> None:
    file = Path("made") / "config.json"
    file.write_text("{")
    seen, (finding,) = look(str(Path("made").resolve()))
    assert finding.id == "model.incomplete"
    assert repair.propose(seen, finding) is None


def test_a_listing_cannot_name_files_elsewhere(hub: Hub) -> None:
    file = snapshot().parents[1] / "trees" / f"{COMMIT}.json"
    listing = json.loads(file.read_text())
    listing["files"] = {f"../../{name}": row for name, row in listing["files"].items()}
    file.write_text(json.dumps(listing))
    place = again.origin(str(snapshot()))
    assert place is not None
    assert again.damaged(place) is None
