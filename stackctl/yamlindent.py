"""A YAML text whose indentation is wrong, put right: tabs, and lines that stand a blank too far left or right."""

from __future__ import annotations

import re

import yaml

_TAB = 4  # blanks in place of one
_MOST = 20  # lines that may stand askew
_LEAD = re.compile(r"[ \t]*")
_ITEM = re.compile(r" *(?:- +)?")


def untabbed(text: str) -> str:
    """`text` with blanks in place of the tabs at the beginning of its lines."""
    return "".join(
        (lead := _LEAD.match(line)[0]).replace("\t", " " * _TAB) + line[len(lead) :]  # type: ignore[index]
        for line in text.splitlines(keepends=True)
    )


def aligned(text: str) -> str:
    """`text` with the lines that YAML stumbles over (and what hangs below them) moved by as little as makes it go on.

    Raises ValueError where that is not one thing to do, or does not help.
    """
    for _ in range(_MOST):
        wrong = _wrong(text)
        if wrong is None:
            return text
        text = _moved(text, wrong)
    raise ValueError("more than its indentation is wrong")


def _wrong(text: str) -> int | None:
    """The line (from 0) that YAML cannot go on at; None where it reads to the end."""
    try:
        yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        if error.problem_mark is None:
            raise
        return int(error.problem_mark.line)
    return None


def _moved(text: str, wrong: int) -> str:
    lines = text.splitlines(keepends=True)
    if wrong >= len(lines):
        raise ValueError("it ends in the middle")
    here = _indent(lines[wrong])
    places = {width for line in lines[:wrong] for width in (_indent(line), len(_ITEM.match(line)[0]))}  # type: ignore[index]
    better: dict[int, list[str]] = {}
    for width in places - {here}:
        tried = _shifted(lines, wrong, width - here)
        after = _wrong(tried)
        if after is None or after > wrong:
            better.setdefault(abs(width - here), []).append(tried)
    nearest = better[min(better)] if better else []
    if len(nearest) != 1:
        raise ValueError("it is not to be seen where that line belongs")
    return nearest[0]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _shifted(lines: list[str], first: int, by: int) -> str:
    """The line, and those below it that are indented more, moved by so many blanks."""
    end = first + 1
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > _indent(lines[first])):
        end += 1
    moved = [(" " * by + line if by > 0 else line[-by:]) if line.strip() else line for line in lines[first:end]]
    return "".join([*lines[:first], *moved, *lines[end:]])
