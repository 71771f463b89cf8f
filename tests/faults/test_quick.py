"""A dozen of the corpus in every test run: those that take a second or two. `make faults` tries all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import corpus, healthy
from tests.faults.judge import judge

if TYPE_CHECKING:
    from tests.faults.stage import Stage

pytestmark = pytest.mark.e2e
QUICK = (
    "key-misspelt",
    "parser-misspelt",
    "gateway-port-held",
    "weights-cut",
    "template-without-tools",
    "l-drop-params",
    "l-v1-extra",
    "settings-url",
    "url-stale",
    "c-url-stale",
    "e-json",
    "e-args-empty",
    "e-window",
    "u-key-wrong",
)
ROWS = {each.id: each for each in corpus.load()}


@pytest.mark.parametrize("name", QUICK)
def test_the_right_cause_is_named_and_nothing_else(stage: Stage, name: str) -> None:
    verdict = judge(stage, ROWS[name])
    assert not verdict.error
    assert (verdict.first, verdict.right, verdict.hop, verdict.extra) == (verdict.first, True, True, [])
    assert verdict.repaired is (True if ROWS[name].fix else None)


@pytest.mark.parametrize("name", ["files", "direct", "url"])
def test_nothing_is_said_against_a_healthy_stack(stage: Stage, name: str) -> None:
    verdict = healthy.look(stage, name)
    assert (verdict.error, verdict.extra) == ("", [])


def test_the_corpus_is_large_and_of_every_kind() -> None:
    rows = list(ROWS.values())
    assert len(rows) >= 80
    assert {each.kind for each in rows} == {"static", "live", "real"}
    hops = {"machine", "toolchain", "model files", "configuration", "engine", "gateway", "client", "behaviour"}
    assert {each.hop for each in rows} == hops
