"""What does not fit into memory gets a smaller window or another precision of the same model, never another model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from stackctl import host, repair
from stackctl.checks import facts, machine, runner
from stackctl.config import Flags
from stackctl.model import Status
from tests.fakes import machines

if TYPE_CHECKING:
    from pathlib import Path

    from stackctl.model import Finding


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host, "inspect", lambda _cache="": machines.host("1x24"))


def look(tmp_path: Path, engine: dict[str, Any]) -> tuple[facts.Facts, list[Finding]]:
    file = tmp_path / "stack.yaml"
    file.write_text(json.dumps({"engines": {"main": engine}}))
    seen = facts.gather(Flags(config=str(file)), static=True, environ={"HOME": str(tmp_path)})
    found = runner.run(machine.CHECKS, seen, budget=60)
    return seen, [each for each in found if each.id == "machine.memory" and each.status is Status.FAIL]


@pytest.mark.parametrize(
    ("engine", "repaired"),
    [
        ({"model": "Qwen/Qwen3-8B", "max_model_len": 10**7}, {"model": "Qwen/Qwen3-8B", "max_model_len": "auto"}),
        ({"model": "Qwen/Qwen3.5-27B"}, {"model": "Qwen/Qwen3.5-27B-GPTQ-Int4"}),
        ({"model": "Qwen/Qwen3-30B-A3B"}, None),
    ],
)
def test_the_same_model_is_made_to_fit_or_nothing_is_done(
    tmp_path: Path, engine: dict[str, Any], repaired: dict[str, Any] | None
) -> None:
    seen, (finding,) = look(tmp_path, engine)
    change = repair.propose(seen, finding)
    if repaired is None:
        assert change is None
        return
    assert change is not None
    (edit,) = change.edits
    assert edit.text is not None
    made = yaml.safe_load(edit.text)
    assert made["engines"]["main"] == repaired
    assert look(tmp_path, repaired)[1] == []
