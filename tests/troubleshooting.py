"""docs/TROUBLESHOOTING.md, from what doctor can say. `make troubleshooting-doc` writes it; a unit test compares."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from stackctl.catalog import known
from stackctl.checks import manual
from stackctl.checks.check import Hop

if TYPE_CHECKING:
    from stackctl.checks.manual import Topic

FILE = Path(__file__).resolve().parents[1] / "docs" / "TROUBLESHOOTING.md"

_HEAD = """\
# Troubleshooting

<!-- Written by `make troubleshooting-doc` from stackctl/catalog; a change here is lost. -->

Run `stackctl doctor` first: it looks at each part of the chain, asks the engine, the gateway and what your client would
ask, and names the one cause to begin with. Each of its findings has a row below, under its id.
`stackctl doctor --explain ID` prints one; it also takes a message that you have seen, as in
`stackctl doctor --explain "No connected db"`. WORDS IN CAPITALS stand for what your finding says.
"""

_SERVERS = {Hop.ENGINE: "vLLM", Hop.GATEWAY: "LiteLLM"}
_THREAD = re.compile(r"\b([\w.-]+/[\w.-]+)#(\d+)")


def cell(text: str) -> str:
    """A text inside a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ").strip()


def code(text: str) -> str:
    """A line of a log inside a table, cut to what one can read."""
    line = text if len(text) <= 160 else text[:159].rstrip() + "…"
    return f"`{line.replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def source(text: str) -> str:
    """Where it is known from, with links to reports."""
    return _THREAD.sub(r"[\1#\2](https://github.com/\1/issues/\2)", cell(text))


def link(name: str) -> str:
    """A link to a topic."""
    return f"[`{name}`](#{manual.topics()[name].anchor})"


def _row(topic: Topic) -> str:
    seen = cell(topic.symptom) if not topic.starting else ""
    said = code(topic.line) if topic.line else ""
    fix = " (or `stackctl doctor --fix`)" if topic.fix else ""
    hand = f"<br>A server made by hand: {cell(topic.by_hand)}" if topic.by_hand else ""
    both = "<br>".join(each for each in (seen, said) if each)
    return (
        f'| <a id="{topic.anchor}"></a>`{topic.id}` | {both} | {cell(topic.cause)} | {cell(topic.remedy)}{fix}{hand} |'
    )


def _table(title: str, rows: list[Topic]) -> list[str]:
    head = ["| id | what you see | cause | what to type |", "| --- | --- | --- | --- |"]
    return ["", f"## {title}", "", *head, *map(_row, rows)] if rows else []


def _first_five() -> list[str]:
    lines = ["", "## The five that everybody meets", "", "| what you see | cause | what to type | findings |", "| --- | --- | --- | --- |"]  # fmt: skip
    for row in known.table()[:5]:
        topic = manual.topics()[row.found_by[0]]
        lines.append(
            f"| {cell(row.about)} | {cell(topic.cause)} | {cell(topic.remedy)} | {', '.join(map(link, row.found_by))} |"
        )
    return lines


def _known() -> list[str]:
    lines = ["", "## Known failures, and the findings that they become", "", "| failure | findings | seen |", "| --- | --- | --- |"]  # fmt: skip
    for row in known.table()[5:]:
        about = row.about or f"vLLM does not start: {manual.topics()[row.found_by[0]].cause}"
        lines.append(f"| {cell(about)} | {', '.join(map(link, row.found_by))} | {source(row.source)} |")
    return lines


def text() -> str:
    """The whole file."""
    topics = list(manual.topics().values())
    checks = [each for each in topics if not each.id.startswith("log.")]
    lines = _HEAD.splitlines()
    lines += _first_five()
    for hop in Hop:
        lines += _table(str(hop).capitalize(), [each for each in checks if each.hop is hop])
    for hop, server in _SERVERS.items():
        lines += _table(
            f"{server} does not start: what its log says",
            [each for each in topics if each.starting and each.hop is hop],
        )
    said = [each for each in topics if each.line and not each.starting]
    lines += _table("What vLLM's log says while it serves", [each for each in said if each.hop is Hop.ENGINE])
    lines += _table("Errors that requests end in", [each for each in said if each.hop is Hop.GATEWAY])
    lines += _table("What Claude Code shows", [each for each in said if each.hop is Hop.CLIENT])
    return "\n".join([*lines, *_known()]) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
