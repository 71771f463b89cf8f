"""Repairs of the stack's own configuration (stack.yaml): the user's file, so each is shown and leaves a copy."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

from stackctl import names, paths, render, yamltext
from stackctl.repair.change import Change, Edit
from stackctl.repair.context import keys, value

if TYPE_CHECKING:
    from stackctl.checks.facts import Facts
    from stackctl.repair.context import Here, Verb

_LONG = 600  # seconds: Claude Code's own patience


def _file(facts: Facts) -> str:
    """The configuration that counts; the user's own, not yet made, when there is none."""
    if not facts.own:
        raise ValueError("this is about something made by hand")
    source, _ = names.config_file(facts.flags.config, facts.environ)
    return source or os.path.join(paths.config_dir(), paths.LOCAL_FILE)


def _edit(here: Here, says: str, text: str) -> Change:
    return Change(says, (Edit(_file(here.facts), text, theirs=True),))


def put(here: Here, path: str, word: str) -> Change:
    """`stack.set PATH VALUE`."""
    return _edit(here, f"set {path}: {word}", yamltext.put(here.text(_file(here.facts)), keys(path), value(word)))


def take(here: Here, path: str) -> Change:
    """`stack.unset PATH`."""
    return _edit(here, f"take out {path}", yamltext.take(here.text(_file(here.facts)), keys(path)))


def rename(here: Here, path: str, name: str) -> Change:
    """`stack.rename PATH NAME`."""
    return _edit(here, f"call {path} {name}", yamltext.rename(here.text(_file(here.facts)), keys(path), name))


def _engine(here: Here) -> str:
    if here.facts.loaded is not None:
        return here.facts.loaded.engine_name
    raise ValueError("no engine is known")


def window_auto(here: Here) -> Change:
    """The engine's window chosen by stackctl, or by vLLM."""
    return put(here, f"engines.{_engine(here)}.max_model_len", "auto")


def parser(here: Here, name: str = "", flag: str = "tool-call-parser") -> Change:
    """The parser `name`; without one, that of the model's family, by taking the written one out."""
    engine = _engine(here)
    if not name and "reasoning-parser" in here.said:
        flag = "reasoning-parser"
    path = f"engines.{engine}.args.{flag}"
    change = put(here, path, name) if name else take(here, path)
    if here.facts.running:
        change += Change("stackctl restart", commands=(("restart",),))
    return change


_KEY_OF_PORT = re.compile(r"set (\S+) to (?:another port|1024 or above)")


def another_port(here: Here) -> Change | None:
    """A port that is free now."""
    found = _KEY_OF_PORT.search(here.said)
    if found is None:
        return None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return put(here, found[1], str(probe.getsockname()[1]))


def patience(here: Here) -> Change:
    """As long a request as the client waits for."""
    return put(here, "gateway.request_timeout", str(_LONG))


def template_path(here: Here, name: str) -> Change:
    """The whole path of a chat template that stands beside the configuration; else the model's own is used."""
    path = f"engines.{_engine(here)}.args.chat-template"
    for base in (os.path.dirname(_file(here.facts)), here.facts.cwd):
        whole = os.path.abspath(os.path.join(base, os.path.expanduser(name)))
        if os.path.isfile(whole):
            return put(here, path, whole)
    return take(here, path)


def override_aside(_: Here) -> Change | None:
    """The user's own template out of the way: the one that ships is used."""
    own = render.override()
    return Change(f"move {own} aside", (Edit(own, None),)) if own else None


# what a configuration is refused for, and the repair that follows from those words
_UNKNOWN = re.compile(r"unknown key `([^`]+)`")
_NEAR = re.compile(r"did you mean `([^`]+)`\?")
_SAME_PORT = re.compile(r"`(\S+\.port)` and `(gateway\.port)` are both \d+")
_ROUTE = re.compile(r"`routes\.(\S+)` names the engine")
_USE = re.compile(r"^use `([^`]+)`", re.MULTILINE)
_HOST = re.compile(r"`gateway\.host` is")
_PYTHON = re.compile(r"the configured python of the (engine|gateway) is not a program")
_NOT_UTF8 = re.compile(r":\d+: not UTF-8")
_TAB = re.compile(r"found character '\\t'|cannot start any token")
_SET_BY_US = re.compile(r"`(engines\.\S+\.args\.[a-z0-9-]+)` is set by stackctl")
_BOTH = re.compile(r"`(engines\.\S+)` has both \S+ and (args\.[a-z0-9-]+)")


def corrected(here: Here) -> Change | None:
    """What the words of the refusal themselves say is to be done, where that is one thing."""
    said, file = here.said, _file(here.facts)
    unknown, near = _UNKNOWN.search(said), _NEAR.search(said)
    if unknown and near:
        return rename(here, unknown[1], near[1].rpartition(".")[2])
    if _SAME_PORT.search(said):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return put(here, "gateway.port", str(probe.getsockname()[1]))
    route, use = _ROUTE.search(said), _USE.search(said)
    if route and use:
        return put(here, f"routes.{route[1]}", use[1])
    if _HOST.search(said):
        return put(here, "gateway.host", "127.0.0.1")
    python = _PYTHON.search(said)
    if python:
        return without_python(here, python[1])
    if _NOT_UTF8.search(said):
        with open(file, "rb") as stream:
            return _edit(here, "save it as UTF-8", stream.read().decode("latin-1"))
    if _TAB.search(said):
        return _edit(here, "spaces in place of tabs", _untabbed(here.text(file)))
    managed, both = _SET_BY_US.search(said), _BOTH.search(said)
    if managed or both:
        return take(here, managed[1] if managed else f"{both[1]}.{both[2]}" if both else "")
    return None


def _untabbed(text: str) -> str:
    return "".join(
        line[: len(line) - len(line.lstrip())].replace("\t", "    ") + line.lstrip(" \t")
        for line in text.splitlines(keepends=True)
    )


def without_python(here: Here, kind: str) -> Change | None:
    """`python:` left out, so that stackctl makes an environment of its own."""
    if kind == "gateway":
        return take(here, "gateway.python")
    found = yamltext.data(here.text(_file(here.facts))).get("engines") or {}
    named = [name for name, engine in found.items() if isinstance(engine, dict) and "python" in engine]
    return take(here, f"engines.{named[0]}.python") if len(named) == 1 else None


VERBS: dict[str, Verb] = {
    "stack.set": put,
    "stack.unset": take,
    "stack.rename": rename,
    "stack.corrected": corrected,
    "window-auto": window_auto,
    "pick-parser": parser,
    "another-port": another_port,
    "patience": patience,
    "template-path": template_path,
    "override-aside": override_aside,
}
