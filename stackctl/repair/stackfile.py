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


def file_of(facts: Facts) -> str:
    """The configuration that counts; the user's own, not yet made, when there is none."""
    if not facts.own:
        raise ValueError("this is about something made by hand")
    source, _ = names.config_file(facts.flags.config, facts.environ)
    return source or os.path.join(paths.config_dir(), paths.LOCAL_FILE)


def edit(here: Here, says: str, text: str) -> Change:
    """The configuration with another text."""
    return Change(says, (Edit(file_of(here.facts), text, theirs=True),))


def put(here: Here, path: str, word: str) -> Change:
    """`stack.set PATH VALUE`. An engine that stood nowhere is written with its model: without one it would be refused."""
    text, way = here.text(file_of(here.facts)), keys(path)
    said = value(text)
    if way[0] == "engines" and not (said and said.get("engines")) and here.facts.loaded is not None:
        model = here.facts.loaded.engines[way[1]].model
        text = yamltext.put(text, ["engines", way[1], "model"], model) if model else text
    return edit(here, f"set {path}: {word}", yamltext.put(text, way, value(word)))


def take(here: Here, path: str) -> Change:
    """`stack.unset PATH`."""
    return edit(here, f"take out {path}", yamltext.take(here.text(file_of(here.facts)), keys(path)))


def rename(here: Here, path: str, name: str) -> Change:
    """`stack.rename PATH NAME`."""
    return edit(here, f"call {path} {name}", yamltext.rename(here.text(file_of(here.facts)), keys(path), name))


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


def another_port(here: Here, path: str = "") -> Change | None:
    """A port that is free now, for `path` or for what the finding names."""
    found = _KEY_OF_PORT.search(here.said)
    path = path or (found[1] if found else "")
    return put(here, path, free_port()) if path else None


def free_port() -> str:
    """One that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def patience(here: Here) -> Change:
    """As long a request as the client waits for."""
    return put(here, "gateway.request_timeout", str(_LONG))


def template_path(here: Here, name: str, engine: str = "") -> Change:
    """The whole path of a chat template that stands beside the configuration; else the model's own is used."""
    path = f"engines.{engine or _engine(here)}.args.chat-template"
    for base in (os.path.dirname(file_of(here.facts)), here.facts.cwd):
        whole = os.path.abspath(os.path.join(base, os.path.expanduser(name)))
        if os.path.isfile(whole):
            return put(here, path, whole)
    return take(here, path)


def override_aside(_: Here) -> Change | None:
    """The user's own template out of the way: the one that ships is used."""
    own = render.override()
    return Change(f"move {own} aside", (Edit(own, None),)) if own else None


def without_python(here: Here, kind: str) -> Change | None:
    """`python:` left out, so that stackctl makes an environment of its own."""
    if kind == "gateway":
        return take(here, "gateway.python")
    found = yamltext.data(here.text(file_of(here.facts))).get("engines") or {}
    named = [name for name, engine in found.items() if isinstance(engine, dict) and "python" in engine]
    return take(here, f"engines.{named[0]}.python") if len(named) == 1 else None


VERBS: dict[str, Verb] = {
    "stack.set": put,
    "stack.unset": take,
    "stack.rename": rename,
    "window-auto": window_auto,
    "pick-parser": parser,
    "another-port": another_port,
    "patience": patience,
    "template-path": template_path,
    "override-aside": override_aside,
}
