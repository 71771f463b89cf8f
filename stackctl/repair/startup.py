"""Repairs of how an engine is started: what its log, its files or its answers say is wrong, put right in `engines:`."""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING, Any

from stackctl import catalog, paths, yamltext
from stackctl.catalog import families
from stackctl.repair.change import Change, Edit
from stackctl.repair.stackfile import edit, file_of, put, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackctl.repair.context import Here, Verb

_ROOM = 8192  # tokens; the first request of an agent alone is about as long, and with less nothing is gained by a start
_BASE = re.compile(r"-base\b", re.IGNORECASE)
_FLAG = re.compile(r"--?[A-Za-z][\w.-]*")
_CHOICES = re.compile(r"choose from (?P<known>.{1,2000}?)\)?$")


def flags_out(here: Here, engine: str, said: str) -> Change | None:
    """`engine-flags.unset ENGINE WORDS`: every flag that the words hold; None where one is not under `args`."""
    args, text = _args(here, engine), here.text(file_of(here.facts))
    written = [_written(args, each) for each in _FLAG.findall(said)]
    keys = [each for each in written if each is not None]
    if not keys or len(keys) < len(written):
        return None
    for key in dict.fromkeys(keys):
        text = yamltext.take(text, ["engines", engine, "args", key])
    return edit(here, f"take {', '.join(keys)} out of engines.{engine}.args", text)


def flag_set(here: Here, engine: str, flag: str, word: str) -> Change | None:
    """`engine-flag.set ENGINE FLAG VALUE`; None where it has that value already."""
    args = _args(here, engine)
    key = _written(args, flag) or flag
    if str(args.get(key)).lower() == word:
        return None
    return put(here, f"engines.{_plain(engine)}.args.{_plain(key)}", word)


def flag_value(here: Here, engine: str, flag: str, why: str) -> Change | None:
    """`engine-flag.value ENGINE FLAG WORDS`: the near one of the values that the words list, else vLLM's default."""
    args = _args(here, engine)
    key = _written(args, flag)
    listed = _CHOICES.search(why)
    if key is not None and listed is not None:
        near = _near(str(args[key]), re.findall(r"[\w.-]+", listed["known"]))
        if near is not None:
            return put(here, f"engines.{_plain(engine)}.args.{_plain(key)}", near)
    return flags_out(here, engine, flag)


def window(here: Here, engine: str, tokens: str) -> Change | None:
    """`engine-window ENGINE TOKENS`: a shorter window; None where it would not hold an agent's first request."""
    if int(tokens) < _ROOM:
        return None
    key = _written(_args(here, engine), "max-model-len")
    return put(here, f"engines.{_plain(engine)}.{f'args.{key}' if key else 'max_model_len'}", tokens)


def window_auto(here: Here, engine: str) -> Change | None:
    """`engine-window.auto ENGINE`: the longest that fits; None where that was tried."""
    key = _written(_args(here, engine), "max-model-len")
    if key is not None:
        return take(here, f"engines.{_plain(engine)}.args.{_plain(key)}")
    found = _engine(here, engine).get("max_model_len", "auto")
    return None if found == "auto" else put(here, f"engines.{_plain(engine)}.max_model_len", "auto")


def override_out(here: Here, engine: str, said: str) -> Change | None:
    """`engine-override.out ENGINE WORD`: what is laid over the model's configuration, where the word stands in it."""
    written = _args(here, engine).get("hf-overrides")
    return flags_out(here, engine, "--hf-overrides") if said in str(written) else None


def share_auto(here: Here, engine: str) -> Change:
    """`engine-share.auto ENGINE`: the share of memory by what is free at the next start."""
    key = _written(_args(here, engine), "gpu-memory-utilization")
    return take(here, f"engines.{_plain(engine)}.args.{_plain(key)}") if key else Change("by what is free now")


def again(here: Here) -> Change | None:
    """`start-again`: where the configuration was changed since the start that failed."""
    stack = here.facts.paths
    if stack is None or here.facts.running:
        return None
    logs = [entry.stat().st_mtime_ns for entry in os.scandir(stack.logs) if entry.name.endswith(".log")]
    changed = os.stat(file_of(here.facts)).st_mtime_ns > max(logs)
    return Change("the configuration was changed since", commands=(("up",),)) if changed else None


def parser(here: Here, engine: str, flag: str, known: str) -> Change | None:
    """`engine-parser ENGINE FLAG NAMES`: the parser of the model's family, else the near one of those that there are.

    Without either an agent could not work with what starts: None.
    """
    config = _engine(here, engine)
    key = _written(_args(here, engine), flag)
    if key is None:
        return None
    family = families.match(str(config.get("model", "")))
    if family is not None and (family.reasoning if flag == "reasoning-parser" else family.tool):
        return take(here, f"engines.{_plain(engine)}.args.{_plain(key)}")
    near = _near(str(config["args"][key]), re.findall(r"[\w.-]+", known))
    return put(here, f"engines.{_plain(engine)}.args.{_plain(key)}", near) if near is not None else None


def template(here: Here, engine: str) -> Change | None:
    """`engine-template ENGINE`: the model's own chat template in place of one that was named, else the catalogue's spare
    one for its family, in a file that is the user's to change. Nothing makes a chat model of a base model: None.
    """
    config = _engine(here, engine)
    key = _written(_args(here, engine), "chat-template")
    if key is not None:
        return take(here, f"engines.{_plain(engine)}.args.{_plain(key)}")
    model = str(config.get("model", ""))
    family = families.match(model)
    if family is None or family.spare_template is None or _BASE.search(model):
        return None
    file = os.path.join(paths.config_dir(), "chat-templates", family.spare_template)
    wanted = catalog.text(family.spare_template)
    made = Change("", () if here.text(file) == wanted else (Edit(file, wanted),))
    return made + put(here, f"engines.{_plain(engine)}.args.chat-template", file)


def _engine(here: Here, engine: str) -> dict[str, Any]:
    """What the file says of an engine. Raises KeyError where it does not speak of it."""
    found = yamltext.data(here.text(file_of(here.facts)))["engines"][engine]
    return found if isinstance(found, dict) else {}


def _args(here: Here, engine: str) -> dict[str, Any]:
    return _engine(here, engine).get("args") or {}


def _written(args: dict[str, Any], flag: str) -> str | None:
    """The key under `args` that a flag of the command line came from; None where none did."""
    plain = flag.lstrip("-").replace("_", "-")
    names = {str(key).replace("_", "-"): str(key) for key in args}
    return names.get(plain) or names.get(plain.removeprefix("no-")) or names.get(f"no-{plain}")


def _near(name: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)


def _plain(key: str) -> str:
    """A key as a part of a path."""
    return key.replace(".", "\\.")


VERBS: dict[str, Verb] = {
    "engine-flags.unset": flags_out,
    "engine-flag.set": flag_set,
    "engine-flag.value": flag_value,
    "engine-window": window,
    "engine-window.auto": window_auto,
    "engine-parser": parser,
    "engine-template": template,
    "engine-override.out": override_out,
    "engine-share.auto": share_auto,
    "start-again": again,
}
