"""A path that names no model becomes that of the model that is meant, where only one can be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from stackctl import repair
from stackctl.checks import facts, modelfiles, runner
from stackctl.config import Flags
from tests.faults import checkpoints

if TYPE_CHECKING:
    from pathlib import Path


def proposed(root: Path, path: str) -> str | None:
    """The path that the configuration has after the repair; None without one."""
    file = root / "stack.yaml"
    file.write_text(json.dumps({"engines": {"main": {"model": str(root / path)}}}))
    seen = facts.gather(Flags(config=str(file)), static=True, environ={"HOME": str(root)})
    found = [each for each in runner.run(modelfiles.CHECKS, seen, budget=60) if each.id == "model.incomplete"]
    change = repair.propose(seen, found[0])
    if change is None:
        return None
    return str(yaml.safe_load(change.edits[0].text or "")["engines"]["main"]["model"])


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", ["models", "models/qwen3-tyni", "models/qwen3-tiny/snapshots", "models/qwen3-tiny"])
def test_the_only_model_that_can_be_meant(tmp_path: Path, path: str) -> None:
    place = "models/qwen3-tiny" + ("/snapshots/5d3c" if path.startswith("models/qwen3-tiny") else "")
    checkpoints.make(tmp_path / place)
    assert proposed(tmp_path, path) == str(tmp_path / place)


@pytest.mark.parametrize("path", ["models", "models/qwen3-tinx", "models/llama", "elsewhere"])
def test_nothing_where_several_can_be_meant_or_none(tmp_path: Path, path: str) -> None:
    for name in ("qwen3-tiny", "qwen3-tina"):
        checkpoints.make(tmp_path / "models" / name)
    assert proposed(tmp_path, path) is None


def test_a_model_that_lacks_a_part_is_not_taken_for_another(tmp_path: Path) -> None:
    checkpoints.make(tmp_path / "models" / "qwen3-tiny")
    broken = checkpoints.make(tmp_path / "models" / "qwen3-tina")
    (broken / "tokenizer.json").unlink()
    assert proposed(tmp_path, "models/qwen3-tina") is None
