"""What stands in a plain answer: words, an end, the number of tokens used, and that it streamed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stackctl.catalog import markup
from stackctl.checks.answers import finding
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.live.peer import Peer
    from stackctl.checks.live.reply import Reply
    from stackctl.model import Finding

_ASKED = "Write one short sentence about the sea."
_ROOM = 1024  # tokens for a model that thinks before it writes one
_LONG = 32  # characters of which a model that works writes more than two different ones
_SHARE = 4  # one letter in so many that cannot be shown is no accident (half an emoji at the end is one)
_MARKS = re.compile("[\u0120\u2581](?=\\w)")  # how a tokenizer's files write a space before a word
_MARKED = 3
_ROUND = re.compile(r"(\S.{0,30}?)\1{5,}", re.DOTALL)
_ROUND_LONG = 48  # characters that are said so, up to the end


def nonsense(said: str, *, small: bool = False) -> str:
    """What makes a text nonsense; empty for words. A `small` model may go round in circles and is well."""
    if len(said) >= _LONG and len(set(said)) <= 2:
        return "one token again and again"
    if said.count("\ufffd") * _SHARE > len(said) >= _LONG:
        return "bytes that are no letters"
    if len(_MARKS.findall(said)) >= _MARKED:
        return "the tokenizer's own marks in place of spaces"
    if not small and any(_to_the_end(round_, said) for round_ in _ROUND.finditer(said)):
        return "the same words again and again"
    return ""


def _only_thinks(reply: Reply) -> bool:
    """An answer that came to its end and holds thoughts alone."""
    return reply.whole and reply.stop_reason == "end_turn" and bool(reply.thinking.strip()) and not reply.text.strip()


def _to_the_end(found: re.Match[str], said: str) -> bool:
    """Whether words go round until the text ends, which need not be where a round does."""
    return len(found[0]) >= _ROUND_LONG and found[1].startswith(said[found.end() :])


def plain(peer: Peer, engine: Peer | None) -> Iterator[Finding]:
    """A plain answer is made of words, stops, streams, and says how many tokens it took."""
    reply = peer.ask(_ASKED, max_tokens=peer.length(48))
    if not reply.whole:
        return  # the other checks say why
    words, shown = peer.words(), (reply.shown(),)
    token = markup.end_of_turn(reply.text)
    what = nonsense(reply.text.strip() or reply.thinking.strip(), small=peer.endpoint.embedded)
    if what:
        yield finding("behaviour.gibberish", Status.FAIL, shown, what=what, **words)
    elif token:
        yield finding("behaviour.end-token", Status.FAIL, shown, token=token, **words)
    elif _only_thinks(reply) and _only_thinks(peer.ask(_ASKED, max_tokens=peer.length(_ROOM))):
        given = peer.endpoint.reasoning_parser
        yield finding(
            "behaviour.all-thinking",
            Status.FAIL,
            shown,
            configured=f"`{given}`" if given else "none that is known",
            **words,
        )
    elif not reply.streamed:
        yield finding(f"{peer.where}.no-stream", Status.WARN, shown, **words)
    elif not reply.usage.get("input_tokens") and not reply.usage.get("cache_read_input_tokens"):
        used = f"usage: {reply.usage or 'none'}"
        yield finding(f"{peer.where}.no-usage", Status.WARN, (used, *shown), blocks=False, **words)
    del engine
