"""Repairs of a stack.yaml that is refused: what the words of the refusal themselves say is to be done."""

from __future__ import annotations

import codecs
import difflib
import re
from typing import TYPE_CHECKING

from stackctl import yamlindent, yamltext
from stackctl.repair.context import keys
from stackctl.repair.stackfile import edit, file_of, free_port, put, rename, take, without_python

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.repair.change import Change
    from stackctl.repair.context import Here, Verb

_UNKNOWN = re.compile(r"unknown key `(?P<key>[^`]+)`(?s:.*)did you mean `(?P<near>[^`]+)`\?")
_SPELLED = re.compile(r"`(?P<path>engines\.\S+\.args)` has '(?P<flag>[^'.]+)'(?s:.*)with hyphens: `(?P<plain>[^`]+)`")
_SAME_PORT = re.compile(r"`\S+\.port` and `gateway\.port` are both \d+")
_ROUTE = re.compile(r"`routes\.(?P<route>\S+)` names the engine(?s:.*)\nuse `(?P<use>[^`]+)`")
_HOST = re.compile(r"`gateway\.host` is")
_PYTHON = re.compile(r"the configured python of the (?P<kind>engine|gateway) is not a program")
_NOT_UTF8 = re.compile(r":\d+: not UTF-8")
_INDENT = re.compile(
    r"found character '\\t'|cannot start any token|expected <block end>|mapping values are not allowed"
)
_SET_BY_US = re.compile(r"`(?P<path>engines\.\S+\.args\.[a-z0-9-]+)` is set by stackctl")
_BOTH = re.compile(r"`(?P<path>engines\.\S+)` has both max_model_len and (?P<key>args\.[a-z0-9-]+)")
_AWAY = re.compile(r"`(?P<path>engines\.\S+)` has both `url` and `(?P<key>[^`]+)`")
_TWICE = re.compile(r":\d+: the key `[^`]+` stands twice")
_NUMBER = re.compile(r"`(?P<path>[^`]+)`: expected a (?:whole )?number, got text")
_CHOICE = re.compile(r"`(?P<path>[^`]+)` is [^\n]*, and may be (?P<words>[^\n]+)")
_NO_SENSE = re.compile(
    r"`(?P<path>[^`]+)`: expected (?:true or false, got|a whole number [<>]=)|unknown key `(?P<key>[^`]+)`"
)
_JUST_A_MODEL = re.compile(r"`(?P<path>engines\.[^`.]+)` must be a mapping, not text")
_A_LIST = re.compile(r"`engines` must map names to engines, not a list")
_KEY = re.compile(r"`engines\.(?P<engine>\S+)\.api_key` must name an environment variable")
_STARTED = {"port", "trust_remote_code", "python", "command", "args", "revision"}  # of engines that are started here


def _another_port(here: Here, _: dict[str, str]) -> Change:
    return put(here, "gateway.port", free_port())


def _utf8(here: Here, _: dict[str, str]) -> Change | None:
    """Windows writes UTF-16 with a mark in front, or its own one-byte letters; anything else is not guessed at."""
    with open(file_of(here.facts), "rb") as stream:
        raw = stream.read()
    text = raw.decode("utf-16" if raw[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} else "latin-1")
    return edit(here, "save it as UTF-8", text) if "\0" not in text else None


def _indented(here: Here, _: dict[str, str]) -> Change:
    text = yamlindent.untabbed(here.text(file_of(here.facts)))
    return edit(here, "put its indentation right", yamlindent.aligned(text))


def _once(here: Here, _: dict[str, str]) -> Change:
    return edit(here, "keep the last of the two", yamltext.once(here.text(file_of(here.facts))))


def _said(here: Here, path: str) -> str:
    """What the configuration says at a path, as a text."""
    return str(yamltext.at(yamltext.data(here.text(file_of(here.facts))), keys(path)))


def _number(here: Here, found: dict[str, str]) -> Change:
    """A number in quotes as a number; what is none is left out, and the default counts."""
    plain = re.sub(r"[ _,']", "", _said(here, found["path"]))
    return put(here, found["path"], plain) if plain.isdecimal() else take(here, found["path"])


def _choice(here: Here, found: dict[str, str]) -> Change:
    """The word that is nearest; where none is, the key is left out, and the default counts."""
    said = _said(here, found["path"])
    near = difflib.get_close_matches(said, found["words"].split(" or "), n=1)
    thousands = re.match(r"(\d+) ?k", said, re.IGNORECASE) if "a whole number" in found["words"] else None
    if thousands:
        return put(here, found["path"], str(int(thousands[1]) * 1024))
    return put(here, found["path"], near[0]) if near else take(here, found["path"])


def _just_a_model(here: Here, found: dict[str, str]) -> Change:
    text, path = here.text(file_of(here.facts)), keys(found["path"])
    model = yamltext.data(text)["engines"][path[1]]
    return edit(here, f"{found['path']}: {{model: {model}}}", yamltext.put(text, path, {"model": model}))


def _named(here: Here, _: dict[str, str]) -> Change | None:
    """A list of one engine as the engine `main`."""
    text = here.text(file_of(here.facts))
    engines = yamltext.data(text)["engines"]
    if len(engines) != 1:
        return None
    return edit(here, "call the engine main", yamltext.put(text, ["engines"], {"main": engines[0]}))


def _away(here: Here, found: dict[str, str]) -> Change:
    """An engine that has an address runs elsewhere: what would start one here is dropped."""
    text, path = here.text(file_of(here.facts)), keys(found["path"])
    refused = [key for key in yamltext.data(text)["engines"][path[1]] if key in _STARTED]
    for key in refused:
        text = yamltext.take(text, [*path, key])
    return edit(here, f"take {', '.join(refused)} out of {found['path']}", text)


def _no_key(here: Here, found: dict[str, str]) -> Change | None:
    """An engine that is started here gets a key of stackctl's making; one elsewhere needs the one it was given."""
    engine = yamltext.data(here.text(file_of(here.facts)))["engines"][found["engine"]]
    return None if "url" in engine else take(here, f"engines.{found['engine']}.api_key")


_ANSWERS: tuple[tuple[re.Pattern[str], Callable[[Here, dict[str, str]], Change | None]], ...] = (
    (_UNKNOWN, lambda here, found: rename(here, found["key"], found["near"].rpartition(".")[2])),
    (_SPELLED, lambda here, found: rename(here, f"{found['path']}.{found['flag']}", found["plain"])),
    (_SAME_PORT, _another_port),
    (_ROUTE, lambda here, found: put(here, f"routes.{found['route']}", found["use"])),
    (_HOST, lambda here, _: put(here, "gateway.host", "127.0.0.1")),
    (_PYTHON, lambda here, found: without_python(here, found["kind"])),
    (_NOT_UTF8, _utf8),
    (_INDENT, _indented),
    (_SET_BY_US, lambda here, found: take(here, found["path"])),
    (_BOTH, lambda here, found: take(here, f"{found['path']}.{found['key']}")),
    (_AWAY, _away),
    (_TWICE, _once),
    (_NUMBER, _number),
    (_KEY, _no_key),
    (_CHOICE, _choice),
    (_JUST_A_MODEL, _just_a_model),
    (_A_LIST, _named),
    (_NO_SENSE, lambda here, found: take(here, found["path"] or found["key"])),
)


def corrected(here: Here) -> Change | None:
    """`stack.corrected`; None where the words do not lead to one thing."""
    for pattern, answer in _ANSWERS:
        found = pattern.search(here.said)
        if found:
            return answer(here, found.groupdict())
    return None


VERBS: dict[str, Verb] = {"stack.corrected": corrected}
