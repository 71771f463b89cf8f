"""The repairs by name, as a finding's `fix` writes them: `NAME WORD...`, several joined by ` && `. Each is pure: it says
what would change. None where there is nothing to be done by a program.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import TYPE_CHECKING, Any

import yaml

from stackctl import names, paths, yamltext
from stackctl.errors import StackError
from stackctl.repair.change import Change, Edit, current
from stackctl.toolchain import locate

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_PRIVATE_FILE, _PRIVATE_DIR = 0o600, 0o700


def propose(facts: Facts, finding: Finding) -> Change | None:
    """What the finding's repair would change; None when it has none, or when it cannot be done here."""
    change = Change("")
    for part in filter(None, (each.strip() for each in finding.fix.split(" && "))):
        name, *words = shlex.split(part)
        try:
            step = NAMES[name](_After(facts, change), *words)
        except (ValueError, KeyError, IndexError, OSError, StackError, yaml.YAMLError):
            return None
        if step is None:
            return None
        change += step
    return change if change.edits or change.modes or change.commands else None


class _After:
    """The facts, and the files as the steps before have left them."""

    def __init__(self, facts: Facts, change: Change) -> None:
        self.facts = facts
        self._texts = {each.path: each.text for each in change.edits}

    def text(self, path: str) -> str:
        if path in self._texts:
            return self._texts[path] or ""
        return current(path)


def _value(word: str) -> Any:
    return yaml.safe_load(word)


def _stack_file(facts: Facts) -> str:
    """The configuration that counts; the user's own, not yet made, when there is none."""
    source, _ = names.config_file(facts.flags.config, facts.environ)
    return source or os.path.join(paths.config_dir(), paths.LOCAL_FILE)


def _keys(path: str) -> list[str]:
    return [each.replace("\0", ".") for each in path.replace("\\.", "\0").split(".")]


def _stack_set(at: _After, path: str, value: str) -> Change:
    file = _stack_file(at.facts)
    return Change(
        f"set {path}: {value}", (Edit(file, yamltext.put(at.text(file), _keys(path), _value(value)), theirs=True),)
    )


def _stack_unset(at: _After, path: str) -> Change:
    file = _stack_file(at.facts)
    return Change(f"take out {path}", (Edit(file, yamltext.take(at.text(file), _keys(path)), theirs=True),))


def _stack_rename(at: _After, path: str, name: str) -> Change:
    file = _stack_file(at.facts)
    return Change(f"call {path} {name}", (Edit(file, yamltext.rename(at.text(file), _keys(path), name), theirs=True),))


_UNKNOWN = re.compile(r"unknown key `([^`]+)`")
_NEAR = re.compile(r"did you mean `([^`]+)`\?")


def _stack_spelling(at: _After) -> Change | None:
    """The misspelt key that the configuration was refused for."""
    error = at.facts.load_error
    key, near = _UNKNOWN.search(error.message if error else ""), _NEAR.search(error.remedy if error else "")
    return _stack_rename(at, key[1], near[1]) if key and near else None


def _hand_file(at: _After) -> str:
    return os.path.abspath(str(at.facts.hand_file))


def _litellm_set(at: _After, path: str, value: str) -> Change:
    """A `*` in the path stands for every element of a list."""
    file = _hand_file(at)
    text = at.text(file)
    for keys in _each(yaml.safe_load(text), _keys(path)):
        text = yamltext.put(text, keys, _value(value))
    return Change(f"set {path}: {value}", (Edit(file, text, theirs=True),))


def _litellm_unset(at: _After, path: str) -> Change:
    file = _hand_file(at)
    text = at.text(file)
    for keys in _each(yaml.safe_load(text), _keys(path)):
        text = yamltext.take(text, keys)
    return Change(f"take out {path}", (Edit(file, text, theirs=True),))


def _each(data: Any, keys: list[str]) -> list[list[str]]:
    if "*" not in keys:
        return [keys]
    place = keys.index("*")
    for key in keys[:place]:
        data = data[int(key) if isinstance(data, list) else key]
    return [found for number in range(len(data)) for found in _each_in(data[number], keys, place, number)]


def _each_in(item: Any, keys: list[str], place: int, number: int) -> list[list[str]]:
    below = _each(item, keys[place + 1 :]) if "*" in keys[place + 1 :] else [keys[place + 1 :]]
    return [[*keys[:place], str(number), *rest] for rest in below]


def _litellm_swap(at: _After, path: str, old: str, new: str) -> Change:
    """`old` at the beginning, or with a `$` at the end, of the texts at `path` becomes `new`."""
    file = _hand_file(at)
    text = at.text(file)
    for keys in _each(yaml.safe_load(text), _keys(path)):
        found: Any = yaml.safe_load(text)
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else found[int(key)]
        if not isinstance(found, str):
            continue
        if old.endswith("$") and found.rstrip("/").endswith(old[:-1]):
            text = yamltext.put(text, keys, found.rstrip("/").removesuffix(old[:-1]) + new)
        elif found.startswith(old):
            text = yamltext.put(text, keys, new + found.removeprefix(old))
    return Change(f"{old} becomes {new or 'nothing'} in {path}", (Edit(file, text, theirs=True),))


def _settings_unset(at: _After, file: str, *variables: str) -> Change | None:
    """Variables out of the `env` of a settings file of Claude Code's; the file's indentation is kept."""
    text = at.text(file)
    data = json.loads(text)
    env = data.get("env") if isinstance(data, dict) else None
    if not isinstance(env, dict) or not set(variables) & env.keys():
        return None
    for name in variables:
        env.pop(name, None)
    if not env:
        del data["env"]
    indent = re.search(r"\n([ \t]+)\S", text)
    made = json.dumps(data, indent=indent[1] if indent else 2, ensure_ascii=False) + (
        "\n" if text.endswith("\n") else ""
    )
    return Change(f"take {', '.join(variables)} out of {file}", (Edit(file, made, theirs=True),))


def _comment(at: _After, file: str, line: str) -> Change | None:
    """A line of a shell's start-up file, counted from 1, made a comment."""
    lines = at.text(file).splitlines(keepends=True)
    number = int(line) - 1
    if not 0 <= number < len(lines):
        return None
    lines[number] = f"# {lines[number]}"
    return Change(f"make line {line} of {file} a comment", (Edit(file, "".join(lines), theirs=True),))


def _aside(_: _After, file: str) -> Change | None:
    return Change(f"move {file} aside", (Edit(file, None),)) if os.path.lexists(file) else None


def _private(_: _After, path: str) -> Change | None:
    if os.path.islink(path) or not os.path.lexists(path):
        return None
    return Change(f"make {path} private", modes=((path, _PRIVATE_DIR if os.path.isdir(path) else _PRIVATE_FILE),))


def _command(*words: str) -> Callable[..., Change]:
    def made(at: _After, *more: str) -> Change:
        given = at.facts.flags
        options = [
            option
            for name, value in (("-c", given.config), ("--name", given.name))
            if value
            for option in (name, value)
        ]
        yes = ["--yes"] if words[0] in {"up", "restart"} and not more else []
        return Change(f"stackctl {' '.join([*words, *more])}", commands=((*words, *more, *yes, *options),))

    return made


def _rebuild(at: _After, kind: str) -> Change | None:
    """A managed environment made anew; one that the user named is theirs to repair."""
    facts = at.facts
    if facts.prepared is None:
        return None
    plan = facts.prepared.plan
    tool = plan.engine.toolchain if kind == "engine" else plan.gateway.toolchain
    if tool is None or tool.source != "managed":
        return None
    root = os.path.dirname(os.path.dirname(tool.python))
    edits = (Edit(root, None),) if os.path.lexists(root) else ()
    return Change(f"make the {kind}'s environment anew", edits, commands=(("install", kind),))


def _embedded(at: _After) -> Change | None:
    """The embedded model made anew."""
    from stackctl import fetch

    place = fetch.embedded_dir()
    if at.facts.prepared is None or not os.path.lexists(place):
        return None
    return Change("make the embedded model anew", (Edit(place, None),), commands=(("install", "model"),))


NAMES: dict[str, Callable[..., Change | None]] = {
    "stack.set": _stack_set,
    "stack.unset": _stack_unset,
    "stack.rename": _stack_rename,
    "stack.spelling": _stack_spelling,
    "litellm.set": _litellm_set,
    "litellm.unset": _litellm_unset,
    "litellm.swap": _litellm_swap,
    "settings.unset": _settings_unset,
    "comment": _comment,
    "aside": _aside,
    "private": _private,
    "restart": _command("restart"),
    "up": _command("up", "-d"),
    "down": _command("down"),
    "trust": _command("trust"),
    "rebuild": _rebuild,
    "embedded": _embedded,
}


def install(facts: Facts, kind: str, on_progress: Callable[[str], None]) -> None:
    """Make what `("install", kind)` names: an environment, or the embedded model. Raises StackError."""
    from stackctl import fetch, toolchain
    from stackctl.model import ServiceKind

    if facts.prepared is None:
        return
    host = facts.prepared.host
    wanted = ServiceKind.GATEWAY if kind == "gateway" else ServiceKind.ENGINE
    tool = locate(wanted, configured_python=None, accelerator=host.accelerator)
    if kind == "model":
        fetch.embedded(tool, on_progress=on_progress)
    else:
        toolchain.install(tool, on_progress=on_progress)
