"""The configuration's mistakes in the words of the file: what stands there, what may, and how it is written."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, get_args

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_WHOLE = "a whole number"


def nearest(key: str, said: object, known: Iterable[Any]) -> str:
    """What was probably meant, as it is written."""
    may = choices(known)
    thousands = re.fullmatch(r"(\d+) ?k(?:ib)?", str(said), re.IGNORECASE)
    bare = re.sub(r"[ _,.']", "", str(said))
    if may[0] == _WHOLE and (thousands or bare.isdecimal()):
        number = int(thousands[1]) * 1024 if thousands else int(bare)
        return f"write  {key}: {number}" + "".join(f"  or  {key}: {each}" for each in may[1:])
    near = difflib.get_close_matches(str(said), may, n=1)
    return f"write {near[0]}" if near else f"write {' or '.join(may)}"


def example(struct: type[msgspec.Struct], key: str, full: str, said: object) -> str:
    """How a key is written, by the kind of its default."""
    usual = {each.name: each.default for each in msgspec.structs.fields(struct)}.get(key)
    if key == "args" or isinstance(usual, bool):
        return f"write it like  {key}: {'{max-num-seqs: 4}' if key == 'args' else str(usual).lower()}"
    if isinstance(usual, int):
        unit = {"request_timeout": " (seconds, without a unit)"}.get(key, "")
        return f"write a whole number like  {key}: {usual}{unit}"
    if isinstance(said, str) and key in {"aliases", "command"}:
        return f"write it as a list:  {key}: [{', '.join(said.split())}]"
    return f"correct `{full}`"


def choices(known: Iterable[Any]) -> list[str]:
    """What may be written, for people: a type in words, the words of a Literal one by one."""
    found = []
    for each in known:
        words = {int: [_WHOLE], float: ["a number"], str: ["text"]}.get(each)
        found += words or [str(word) for word in get_args(each)] or [str(each)]
    return found


def plain(reason: str) -> str:
    """What msgspec says against a value, for people."""
    names = {
        "`int`": _WHOLE,
        "`str`": "text",
        "`bool`": "true or false",
        "`array`": "a list",
        "`object`": "a mapping",
        "`null`": "nothing",
    }
    for word, said in names.items():
        reason = reason.replace(word, said)
    return reason[:1].lower() + reason[1:]


def kind(value: object) -> str:
    """What a value is, for people."""
    return {list: "a list", dict: "a mapping", str: "text", bool: "true/false", type(None): "nothing"}.get(
        type(value), "a number"
    )
