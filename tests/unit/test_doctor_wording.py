"""What counts as nonsense in a plain answer, and what is only odd."""

from __future__ import annotations

import pytest

from stackctl.checks.live.wording import nonsense


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("!" * 48, "one token"),
        ("the sea " * 12, "same words"),
        ("The sea is blue and wide. " + "It is a good day. " * 7 + "It is a", "same words"),
        ("\ufffd\ufffda\ufffd \ufffd\ufffd" * 8, "no letters"),
        ("The\u0120sea\u0120is\u0120blue\u0120and\u0120wide", "marks"),
        ("The\u2581sea\u2581is\u2581blue", "marks"),
    ],
)
def test_nonsense_is_told_by_its_kind(said: str, words: str) -> None:
    assert words in nonsense(said)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "OK",
        "The sea stretches to the horizon, glittering under the pale light of the morning.",
        "The waves roll in, and in, and in, and in, for ever and ever and ever.",
        "Das Meer rauscht, und die M\u00f6wen schreien \ufffd",
        "\u6d77\u6d77\u7684\u6d6a\u82b1\u5728\u9633\u5149\u4e0b\u95ea\u95ea\u53d1\u5149\uff0c\u5b81\u9759\u800c\u6df1\u9083\u3002"
        * 2,
        "The user wants one short sentence about the sea. Let me think. " + "-" * 40 + " The sea is calm today.",
        "| a | b |\n| - | - |\n" + "| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |\n",
    ],
)
def test_words_are_words(said: str) -> None:
    assert nonsense(said) == ""


def test_a_small_model_may_go_round_in_circles() -> None:
    assert nonsense("the sea " * 12, small=True) == ""
    assert nonsense("!" * 48, small=True)
