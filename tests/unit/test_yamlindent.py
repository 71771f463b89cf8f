"""Indentation is put right where there is one way to do it, and nothing else of the text is touched."""

from __future__ import annotations

import pytest
import yaml

from stackctl import yamlindent


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("model_list:\n  - model_name: a\n   params: {}\n", "model_list:\n  - model_name: a\n    params: {}\n"),
        ("a:\n  - b: 1\n     c: 2  # mine\n", "a:\n  - b: 1\n    c: 2  # mine\n"),
        ("a: 1\n b: 2\n", "a: 1\nb: 2\n"),
        (
            "a:\n  - n: 1\n   p:\n     x: 1\n\n     y: 2\n  - n: 2\n   p:\n     x: 3\n",
            "a:\n  - n: 1\n    p:\n      x: 1\n\n      y: 2\n  - n: 2\n    p:\n      x: 3\n",
        ),
        ("a: 1\n", "a: 1\n"),
        ("", ""),
    ],
)
def test_a_line_that_stands_askew_is_moved_with_what_hangs_below_it(wrong: str, right: str) -> None:
    assert yamlindent.aligned(wrong) == right
    yaml.safe_load(right)


@pytest.mark.parametrize(
    "text",
    [
        "a:\n  b: 1\n c: 2\n",  # below a, or beside it
        "a: [1, 2\nb: 3\n",
        'a: "b\n',
        "a: b: c\n",
        "a: 1\n}\n",
    ],
)
def test_what_can_be_meant_in_two_ways_or_is_something_else_is_left(text: str) -> None:
    with pytest.raises((ValueError, yaml.YAMLError)):
        yamlindent.aligned(text)


def test_tabs_become_blanks_only_at_the_beginning_of_a_line() -> None:
    assert yamlindent.untabbed("a:\n\tb: 'c\td'\n  \te: 1\n") == "a:\n    b: 'c\td'\n      e: 1\n"
