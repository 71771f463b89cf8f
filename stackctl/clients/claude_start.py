"""How `launch` starts Claude Code: one settings file of the stack's own, into which the user's `--settings` are merged."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from stackctl.clients import claude_names, claude_settings, proxy
from stackctl.clients.types import Start
from stackctl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE = "claude-settings.json"


def start(facts: Mapping[str, object], variables: Mapping[str, str], arguments: Sequence[str], private: str) -> Start:
    """Raises ConfigError when the user's `--settings` cannot be read."""
    own, rest = _settings_of(arguments)
    emptied = [name for name in claude_settings.sources(os.environ, os.getcwd()) if name in claude_names.REMOVED]
    content = claude_names.settings(variables, emptied)
    content["env"] |= _no_proxy(variables)
    notes = []
    if own is not None:
        theirs = _read(own)
        named = theirs.get("env") if isinstance(theirs.get("env"), dict) else {}
        beaten = [name for name in content["env"] if name in (named or {})]
        content = merged(content, theirs)
        note = f", which wins for {', '.join(beaten)}" if beaten else ""
        notes.append(f"your --settings {_shown(own)} is merged over the stack's{note}")
    model = _option(rest, "--model")
    if model is not None and model != facts["model"]:
        notes.append(_about_model(model, facts))
    text = json.dumps(content, indent=1) + "\n"
    # named by its content: Claude Code reads it again when it changes, and two clients may have different ones
    path = os.path.join(private, f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-{FILE}")
    return Start(("--settings", path, *rest), {path: text}, notes)


def _no_proxy(variables: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY with what settings files say: ours would else take their exceptions away."""
    theirs = ",".join(claude_settings.values(proxy.NAMES, os.environ, os.getcwd()))
    return dict.fromkeys(proxy.NAMES, proxy.merged({"NO_PROXY": variables["NO_PROXY"], "no_proxy": theirs}))


def _about_model(model: str, facts: Mapping[str, object]) -> str:
    said = f"your --model {model} wins over {facts['model']}"
    if claude_names.is_real(model):
        said += (
            f"; Claude Code believes that it knows that name and ignores the true window of {facts['window']} tokens"
        )
    return said


def _settings_of(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of `--settings` among the user's arguments, and the arguments without it."""
    found, rest, words = None, [], iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--settings":
            found = next(words, None)
            if found is None:
                raise ConfigError("--settings needs a file or JSON", remedy="stackctl launch claude -- --settings FILE")
        elif word.startswith("--settings="):
            found = word.partition("=")[2]
        else:
            rest.append(word)
    return found, rest


def _option(arguments: Sequence[str], name: str) -> str | None:
    words = list(arguments)
    for at, word in enumerate(words):
        if word == name and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(name + "="):
            return word.partition("=")[2]
    return None


def _shown(value: str) -> str:
    return "JSON" if value.lstrip().startswith("{") else value


def _read(value: str) -> dict[str, Any]:
    text = value
    if not value.lstrip().startswith("{"):
        try:
            with open(value, encoding="utf-8") as stream:
                text = stream.read()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise ConfigError(f"--settings {value} cannot be read: {reason}", remedy="correct the path") from error
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--settings {_shown(value)} is not JSON: {error}", remedy="correct it") from error
    if not isinstance(found, dict):
        raise ConfigError(f"--settings {_shown(value)} is not a JSON object", remedy="correct it")
    return found


def merged(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """`theirs` over `ours`: objects key by key, lists together, everything else theirs."""
    result = dict(ours)
    for key, value in theirs.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merged(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            result[key] = [*old, *(each for each in value if each not in old)]
        else:
            result[key] = value
    return result
