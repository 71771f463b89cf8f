"""A full disk gets back what nothing uses, as far as that is enough, and nothing of the user's."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import pytest

from stackctl import belongings, host, repair
from stackctl.checks import answers
from stackctl.checks.facts import Facts
from stackctl.config import Flags
from stackctl.errors import StackError
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory with an old log of 2 MiB, a new one, a compilation cache of 4 MiB and a file of the user's."""
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("STACKCTL_ENVS", str(tmp_path / "envs"))
    logs = tmp_path / "state" / "stacks" / "default" / "logs"
    cache = tmp_path / "state" / "cache" / "vllm"
    for each in (logs, cache):
        each.mkdir(parents=True)
    for file, size in ((logs / "old.log", 2), (logs / "new.log", 1), (cache / "graph", 4), (tmp_path / "film", 9)):
        file.write_bytes(os.urandom(size * MIB))
    os.utime(logs / "old.log", (1.7e9, 1.7e9))
    return tmp_path / "state"


def look(home: Path, monkeypatch: pytest.MonkeyPatch, missing: int) -> tuple[Facts, Finding]:
    """The finding of a disk on which so many bytes are missing."""
    monkeypatch.setattr(host, "free_on", lambda _path: host.DISK_FLOOR - missing)
    fix = shlex.join(("space", str(home), str(host.DISK_FLOOR)))
    found = answers.restated(Finding("disk", Status.FAIL, fix=fix), "machine.disk")
    return Facts({}, str(home), str(home), Flags(), True), found


@pytest.mark.parametrize(("missing", "taken"), [(MIB, ["old.log"]), (5 * MIB, ["old.log", "vllm"])])
def test_as_much_goes_as_is_needed(home: Path, monkeypatch: pytest.MonkeyPatch, missing: int, taken: list[str]) -> None:
    change = repair.propose(*look(home, monkeypatch, missing))
    assert change is not None
    assert [os.path.basename(each.path) for each in change.removals] == taken
    assert all(each.path in "\n".join(repair.shown(change)) for each in change.removals)
    repair.apply(change, lambda words: pytest.fail(f"nothing was to be run: {words}")).keep()
    left = {each.name for each in (home / "stacks" / "default" / "logs").iterdir()}
    assert left == {"new.log"}
    assert (home / "cache" / "vllm").exists() == ("vllm" not in taken)


def test_nothing_goes_where_it_would_not_be_enough(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match="would still be missing"):
        repair.propose(*look(home, monkeypatch, 64 * MIB))
    assert (home / "stacks" / "default" / "logs" / "old.log").exists()


def test_what_has_another_name_gives_nothing_back(home: Path) -> None:
    log = home / "stacks" / "default" / "logs" / "old.log"
    assert belongings.occupied(str(log)) >= 2 * MIB
    os.link(log, home / "kept")
    assert belongings.occupied(str(log)) == 0
    assert belongings.occupied(str(home)) >= 7 * MIB
