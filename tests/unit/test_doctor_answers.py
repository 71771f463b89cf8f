"""Answers are data: every id that the code yields has a row, every row is yielded by somebody, every text can be filled."""

from __future__ import annotations

import ast
import re
import string
from functools import cache
from pathlib import Path

import pytest

from stackctl.checks import answers

PACKAGE = Path(answers.__file__).resolve().parents[1]
YIELDS = {"finding", "restated", "refused"}  # the functions that take an id
PLACES = ("checks", "repair", "commands", "catalog")


@cache
def trees() -> tuple[ast.Module, ...]:
    return tuple(ast.parse(path.read_text()) for place in PLACES for path in sorted((PACKAGE / place).rglob("*.py")))


def literals(node: ast.AST) -> list[str]:
    """The texts in a node; what an f-string fills in is `.*`."""
    found = []
    for each in ast.walk(node):
        if isinstance(each, ast.JoinedStr):
            parts = (re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in each.values)
            found.append("".join(parts))
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            found.append(re.escape(each.value))
    return found


def yielded() -> set[str]:
    """The ids in calls of the functions that take one."""
    calls = [each for tree in trees() for each in ast.walk(tree) if isinstance(each, ast.Call)]
    named = [each for each in calls if getattr(each.func, "attr", getattr(each.func, "id", "")) in YIELDS]
    given = [argument for each in named for argument in each.args[:2] if isinstance(argument, ast.Constant)]
    return {str(each.value) for each in given if isinstance(each.value, str)}


def test_every_id_that_is_yielded_has_a_row() -> None:
    assert len(yielded()) > 10
    assert yielded() - set(answers.table()) == set()


def test_every_row_is_yielded_by_somebody() -> None:
    patterns = {each for tree in trees() for each in literals(tree) if "." in each and len(each) < 100}
    catalog = PACKAGE / "catalog"
    data = "\n".join(path.read_text() for path in (*catalog.glob("*.yaml"), *catalog.glob("symptoms/*.yaml")))
    unused = [
        name
        for name in answers.table()
        if not any(re.fullmatch(each, name) for each in patterns) and not re.search(rf"\b{re.escape(name)}\b", data)
    ]
    assert unused == []


@pytest.mark.parametrize("name", list(answers.table()))
def test_a_row_says_what_is_seen_why_and_what_to_do(name: str) -> None:
    _, row = answers.table()[name]
    assert row.symptom
    assert row.remedy
    assert row.source
    for text in (row.cause, row.remedy, row.by_hand):
        words = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
        assert all(word.isidentifier() for word in words), text
    assert "{" not in row.symptom
    assert not row.cause.endswith(".")
    assert name.partition(".")[0] in {"doctor", *answers._FILES.values()}
    assert re.fullmatch(r"[a-z]+(\.[a-z0-9]+(-[a-z0-9]+)*)+", name)


def test_anchors_tell_the_rows_apart() -> None:
    assert len({answers.anchor(each) for each in answers.table()}) == len(answers.table())
