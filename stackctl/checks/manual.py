"""Everything that doctor can say, by id: what docs/TROUBLESHOOTING.md lists and `stackctl doctor --explain` looks up."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from stackctl.catalog import known, running, symptoms
from stackctl.checks import answers, logs
from stackctl.checks.check import Hop
from stackctl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORTEST = 8  # characters of a message that are enough to know it by
_HOPS = {"engine": Hop.ENGINE, "gateway": Hop.GATEWAY, "client": Hop.CLIENT}


@dataclass(frozen=True, slots=True)
class Topic:
    """One cause. In its texts, what a finding would fill in stands in capitals. `line` is the log's, where one says it.

    `by_hand` is what to type where stackctl did not start the server, if that is something else.
    """

    id: str
    hop: Hop
    symptom: str
    cause: str
    remedy: str
    source: str
    line: str = ""
    by_hand: str = ""
    fix: str = ""
    starting: bool = False

    @property
    def anchor(self) -> str:
        """Its place in docs/TROUBLESHOOTING.md."""
        return answers.anchor(self.id)


class _Word(str):
    """A word that a finding fills in, whatever its format."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return str(self)


class _Words(dict[str, str]):
    """Every word in capitals, but those that read better as what they always are."""

    def __missing__(self, name: str) -> str:
        return _Word(name.upper())


# A command that stands apart by two spaces or begins a text, up to what ends it.
_APART = re.compile(r"(?:^|  )(stackctl [a-z][^`;,)]*?)(?=  | ?[;,)]|$)")


def _plain(text: str, hop: Hop) -> str:
    end = {Hop.ENGINE: "the engine", Hop.GATEWAY: "the gateway"}.get(hop, "the engine")
    words = _Words(end=_Word(end), configured=_Word("the configured parser"), said=_Word("its words"))
    filled = _APART.sub(r" `\1` ", text.format_map(words))
    return re.sub(r" +([;,)])", r"\1", " ".join(filled.split()))


@cache
def topics() -> dict[str, Topic]:
    """Every topic by its id: the checks' in the order of the hops, then the lines of logs, then what clients show."""
    found = [*_answers(), *_starts(), *_said()]
    return {each.id: each for each in found}


def _answers() -> Iterator[Topic]:
    for name, (hop, row) in answers.table().items():
        yield Topic(
            name, hop, _plain(row.symptom, hop), _plain(row.cause, hop), _plain(row.remedy, hop), row.source,
            by_hand=_plain(row.by_hand, hop), fix=row.fix,
        )  # fmt: skip


def _starts() -> Iterator[Topic]:
    for row in symptoms.table().failures:
        hop, who = _HOPS[row.service], "vLLM" if row.service == "engine" else "LiteLLM"
        line = row.sample.strip().splitlines()[0]
        yield Topic(
            logs.name_of(row.id), hop, f"{who} does not start", _plain(row.cause, hop), _plain(row.remedy, hop), row.source,
            line=line, fix=row.fix, starting=True,
        )  # fmt: skip


def _said() -> Iterator[Topic]:
    for row in running.table():
        hop = _HOPS[row.where]
        yield Topic(
            logs.name_of(row.id), hop, _plain(row.symptom, hop), _plain(row.cause, hop), _plain(row.remedy, hop), row.source,
            line=row.sample,
        )  # fmt: skip


def find(asked: str) -> Topic:
    """The topic with an id, or the one that explains a message. Raises ConfigError (2) that names the nearest id."""
    words = asked.strip()
    plain = words.lower().replace("_", "-")
    for name in (words, plain, f"log.{plain}", plain.replace("-", ".", 1)):
        if name in topics():
            return topics()[name]
    if (told := _meaning(words)) is not None:
        return topics()[logs.name_of(told)]
    if (part := _part(words.lower())) is not None:
        return part
    near = difflib.get_close_matches(plain, topics(), n=3, cutoff=0.4)
    near += [each for each in topics() if plain and plain in each and each not in near][:3]
    remedy = f"did you mean {' or '.join(near)}?" if near else "the ids are in docs/TROUBLESHOOTING.md"
    raise ConfigError(f"no finding is called {words[:80]!r}, and no known message reads like that", remedy=remedy)


def _meaning(message: str) -> str | None:
    """The row whose pattern a message of a log, an error or a screen fits."""
    places: tuple[running.Where, ...] = ("client", "gateway", "engine")
    for where in places:
        if said := running.meaning(where, message):
            return said.id
    for service in ("engine", "gateway"):
        if cause := symptoms.diagnose(service, message):
            return cause.id
    return None


def _part(words: str) -> Topic | None:
    """The topic of which a known message, or else what one sees, has these words in it: people copy the part that they saw."""
    if len(words) < _SHORTEST:
        return None
    told = [each for each in reversed(topics().values()) if words in each.line.lower()]
    seen = [each for each in topics().values() if words in each.symptom.lower()]
    return next(iter(told + seen), None)


def explain(topic: Topic) -> list[str]:
    """A topic for a terminal."""
    lines = [
        f"{topic.id} ({topic.hop})",
        f"  you see: {topic.symptom}",
        *([f"  it says: {topic.line}"] if topic.line else []),
        f"  because: {topic.cause}",
        f"  type:    {topic.remedy}",
    ]
    if topic.by_hand:
        lines.append(f"           (a server made by hand: {topic.by_hand})")
    if topic.fix:
        lines.append("           or let stackctl do it: stackctl doctor --fix")
    also = [row for row in known.table() if topic.id in row.found_by]
    if also:
        lines.append("  known as: " + "; ".join(row.about or row.row.partition("/")[2] for row in also[:4]))
    lines.append(f"  source:  {topic.source}")
    return lines
