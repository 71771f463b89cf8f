"""The bars of the fault corpus are measured on all faults, and what broke off is a miss of each."""

from __future__ import annotations

import pytest

from stackctl.checks import answers
from tests.faults import corpus, recipes, table
from tests.faults.corpus import Fault
from tests.faults.judge import Verdict
from tests.faults.stage import Stage


def verdict(number: int, **other: object) -> Verdict:
    given: dict[str, object] = {"right": True, "hop": True, "repaired": True, "seconds": 0.5, **other}
    return Verdict(id=f"f{number}", kind="static", **given)  # type: ignore[arg-type]


def missed(found: list[Verdict], well: list[Verdict] | None = None) -> list[str]:
    rows = [
        Fault(id=each.id, breaks="", kind="static", stack="files", expect=[], hop="", fix=each.repaired is not None)
        for each in found
    ]
    return [text.partition(":")[0] for mark, text, _ in table.bars(rows, found, well or []) if mark == "MISSED"]


def test_every_row_has_a_name_of_its_own_and_names_what_there_is() -> None:
    rows = [*corpus.load(), *corpus.load(corpus.HELD_OUT)]
    assert len({each.id for each in rows}) == len(rows)
    assert [each.id for each in rows if each.do and not hasattr(recipes, each.do)] == []
    assert [each.id for each in rows if not hasattr(Stage, f"_{each.stack.replace('-', '_')}")] == []
    known = {*answers.table()}
    told = [each.id for each in rows if any(name in known or name.startswith("log.") for name in each.expect)]
    assert told == [each.id for each in rows]


def test_repairs_are_counted_of_all_faults() -> None:
    able = [verdict(number) for number in range(5)]
    assert missed([*able, *(verdict(number, repaired=None) for number in range(5, 8))]) == []
    assert missed([*able, *(verdict(number, repaired=None) for number in range(5, 9))]) == ["repaired by --fix"]


@pytest.mark.parametrize(
    ("other", "bars"),
    [
        ({"right": False}, ["right cause first"]),
        ({"hop": False}, ["right hop"]),
        ({"extra": ["a", "b"]}, []),
        ({"seconds": 2.1}, ["in time (static 2 s, live 20 s)"]),
        ({"error": "it broke"}, ["right cause first", "right hop"]),
    ],
)
def test_one_in_twelve_is_too_many_for_the_cause_and_not_for_the_rest(
    other: dict[str, object], bars: list[str]
) -> None:
    assert missed([verdict(number) for number in range(11)] + [verdict(11, **other)]) == bars


def test_a_healthy_stack_with_a_word_against_it_is_a_miss() -> None:
    assert missed([verdict(1)], [verdict(2), verdict(3, right=False)]) == ["healthy stacks without a word"]
