"""What doctor tells people to type exists: every `stackctl` command in a remedy, with its flags, is one that the CLI knows."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import typer

from stackctl import cli
from stackctl.checks import manual

if TYPE_CHECKING:
    from collections.abc import Iterator

# Behind `stackctl` in these words stands a command line; elsewhere it is the program's name in a sentence.
_LINE = re.compile(r"(?:`|\$\(|: |run |type |^|  )stackctl ([a-z][^`)\n]*?)(?=[`);]|  |, |\. |$)")
_PROSE = {
    "does",
    "has",
    "installs",
    "makes",
    "starts",
    "then",
    "treats",
    "runs",
    "can",
    "is",
    "keeps",
    "itself",
    "gives",
    "do",
}


@cache
def commands() -> dict[str, Any]:
    """The commands of the CLI by name; those of a group by both names."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        found[name] = command
        found |= {f"{name} {each}": inner for each, inner in getattr(command, "commands", {}).items()}
    return found


def lines(text: str) -> Iterator[str]:
    """The command lines of stackctl's in a text, without the program's name."""
    for found in _LINE.finditer(text):
        if found[1].split()[0] not in _PROSE:
            yield found[1].strip()


def unknown(line: str) -> str | None:
    """What the CLI does not know of a command line; None when it knows all."""
    words = line.split()
    command = commands().get(" ".join(words[:2])) or commands().get(words[0])
    if command is None:
        return words[0]
    known = {"--help", *(flag for each in command.params for flag in each.opts)}
    return next(
        (word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0].rstrip(".:") not in known), None
    )


@pytest.mark.parametrize("topic", manual.topics().values(), ids=lambda topic: topic.id)
def test_every_command_in_a_text_is_one_that_the_program_knows(topic: manual.Topic) -> None:
    for text in (topic.remedy, topic.by_hand, topic.cause, topic.symptom):
        for line in lines(text):
            assert unknown(line) is None, f"{topic.id}: stackctl {line}: the program knows no {unknown(line)}"


def test_the_check_itself_sees_a_wrong_command_and_a_wrong_flag() -> None:
    assert list(lines('run `stackctl status`; else eval "$(stackctl env)", then:  stackctl logs engine --tail 5')) == [
        "status", "env", "logs engine --tail 5",
    ]  # fmt: skip
    assert list(lines("`stackctl up` does both; without it stackctl installs one")) == ["up"]
    assert unknown("statsu") == "statsu"
    assert unknown("logs engine --nosuch") == "--nosuch"
    assert unknown("logs engine -n 5 --since 10m") is None


@pytest.mark.parametrize("topic", manual.topics().values(), ids=lambda topic: topic.id)
def test_a_remedy_says_something_to_do(topic: manual.Topic) -> None:
    """A remedy is one or a few sentences for people: not a heading, not a question, and no place to be looked for."""
    assert len(topic.remedy.split()) >= 2, topic.remedy
    assert not topic.remedy.endswith((":", "?")), topic.remedy
    assert not re.search(r"\b(?:somehow|maybe|probably|check your config)\b", topic.remedy), topic.remedy
