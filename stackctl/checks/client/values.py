"""Values of this shell that no client can use as they stand: with what a file, a quote or another program left in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl import addresses
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.client import told
from stackctl.checks.client.told import gateway, uses
from stackctl.clients import claude, claude_names, proxy
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_URL, _HEADERS, _MODEL = "ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_MODEL"


def values(facts: Facts) -> Iterator[Finding]:
    """The address, the key and the model name in this shell are written as a client can use them."""
    if not told.url(facts):
        return
    shell = told.shells(facts)
    for name in (_URL, claude.TOKEN, "ANTHROPIC_API_KEY", _MODEL):
        value = shell.get(name, "")
        why = _spoilt(value.strip()) or (_of_its_kind(name, facts) if value else "")
        if why:
            yield answers.finding("client.malformed", Status.FAIL, (f"{name} {why}",), name=name, why=why)
            return
        if why := _spoilt(value):  # Claude Code 2.1.330 takes it off (tried); curl and other clients do not
            yield answers.finding("client.malformed", Status.WARN, (f"{name} {why}",), name=name, why=why, blocks=False)
    for name in proxy.PROXIES:
        value = facts.environ.get(name, "")
        if value and "://" not in value:
            why = "does not begin with http://, and Claude Code then does not start at all"
            yield answers.finding("client.malformed", Status.FAIL, (f"{name} {why}",), name=name, why=why)
            return
    extra = _header(facts.environ.get(_HEADERS, ""))
    if extra and uses(facts):
        why = f"sends {extra} beside the stack's key, and a server may take that one"
        shown = (f"{_HEADERS} {why}",)
        yield answers.finding("client.malformed", Status.WARN, shown, name=_HEADERS, why=why, blocks=False)


def _spoilt(value: str) -> str:
    """What does not belong to a value, in words; empty where it is clean."""
    if value.endswith("\r"):
        return "ends with a carriage return (from a file with Windows line ends?)"
    if any(ord(each) < ord(" ") for each in value):
        return "has a line break or another control character in it"
    if value != value.strip():
        return "begins or ends with a space"
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'`":
        return "has quotes as a part of its value"
    return ""


def _of_its_kind(name: str, facts: Facts) -> str:
    value = facts.environ.get(name, "").strip()
    if name == _URL:
        scheme = addresses.parts(value).scheme if "://" in value else ""
        if scheme not in {"http", "https"}:
            return "does not begin with http:// or https://"
        here = gateway(facts)
        if here and uses(facts) and scheme != addresses.parts(here).scheme:
            return f"begins with {scheme}://, and what listens there speaks {addresses.parts(here).scheme}"
    if name in {claude.TOKEN, "ANTHROPIC_API_KEY"} and value.lower().startswith("bearer "):
        return "begins with `Bearer `, which clients add themselves"
    return ""


def _header(headers: str) -> str:
    """The first of the user's own headers that carries a key; they are written one to a line."""
    names = [line.partition(":")[0].strip() for line in headers.splitlines()]
    return next((each for each in names if each.lower() in claude_names.KEY_HEADERS), "")


CHECKS = (Check("client.values", Hop.CLIENT, "The values in this shell are written as clients can use them.", values),)
