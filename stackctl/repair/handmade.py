"""Repairs of a litellm_config.yaml that somebody wrote: always shown, with a copy kept."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from stackctl import addresses, yamlindent, yamltext
from stackctl.repair.change import Change, Edit
from stackctl.repair.context import keys, value

if TYPE_CHECKING:
    from stackctl.repair.context import Here, Verb

_LONG = 600
_REFERENCE, _MASTER = "os.environ/", "LITELLM_MASTER_KEY"
_GUESSABLE = 16  # characters of a master key that is none
_INDEX = re.compile(r"\[(\d+)\]")
_TIMES = (
    ("litellm_settings", "request_timeout"),
    ("router_settings", "timeout"),
    ("router_settings", "stream_timeout"),
)


def file_of(here: Here) -> str:
    """The file that was named. Raises ValueError where none was."""
    if here.facts.hand_file is None:
        raise ValueError("no file of LiteLLM's was named")
    return os.path.abspath(here.facts.hand_file)


def edit(here: Here, says: str, text: str) -> Change:
    """The file with another text."""
    return Change(says, (Edit(file_of(here), text, theirs=True),))


def deployments(text: str) -> list[tuple[list[str], dict[str, Any]]]:
    """Each row of the model_list: its place in the file, and what it says."""
    return [(["model_list", str(number)], row) for number, row in enumerate(yamltext.data(text)["model_list"])]


def put(here: Here, path: str, word: str) -> Change:
    """`litellm.set PATH VALUE`; a `*` in the path stands for every element of a list."""
    text = here.text(file_of(here))
    for each in _every(yamltext.data(text), keys(path)):
        text = yamltext.put(text, each, value(word))
    return edit(here, f"set {path}: {word}", text)


def take(here: Here, path: str) -> Change:
    """`litellm.unset PATH`."""
    text = here.text(file_of(here))
    for each in _every(yamltext.data(text), keys(path)):
        text = yamltext.take(text, each)
    return edit(here, f"take out {path}", text)


def once(here: Here) -> Change:
    """`litellm.once`: no request is put to an engine a second time, for all deployments and for each."""
    text = here.text(file_of(here))
    for place, each in deployments(text):
        for key in ("num_retries", "max_retries"):
            if each["litellm_params"].get(key):
                text = yamltext.put(text, [*place, "litellm_params", key], 0)
    for section in ("router_settings", "litellm_settings"):
        text = yamltext.put(text, [section, "num_retries"], 0)
    return edit(here, "ask an engine once for each request", text)


def unify(here: Here) -> Change | None:
    """`litellm.unify`: a key that stands twice only where it counts; none where that would drop rows of a list."""
    text = here.text(file_of(here))
    fixed = yamltext.once(text)
    rows = [line for line in text.splitlines() if line.lstrip().startswith("- ")]
    kept = [line for line in fixed.splitlines() if line.lstrip().startswith("- ")]
    return edit(here, "keep the one that counts", fixed) if rows == kept else None


def rename(here: Here, path: str, name: str) -> Change:
    """`litellm.rename PATH NAME`."""
    return edit(here, f"call {path} {name}", yamltext.rename(here.text(file_of(here)), keys(path), name))


def row(here: Here, name: str, key: str, word: str) -> Change:
    """`litellm.row NAME KEY VALUE`: a parameter of the deployments that are called NAME."""
    text = here.text(file_of(here))
    for place, each in deployments(text):
        if each.get("model_name") == name:
            text = yamltext.put(text, [*place, "litellm_params", key], value(word))
    return edit(here, f"{name}: {key}: {word}", text)


def called(here: Here, old: str, new: str) -> Change:
    """`litellm.called OLD NEW`: another name for what clients ask for."""
    text = here.text(file_of(here))
    for place, each in deployments(text):
        if each.get("model_name") == old:
            text = yamltext.put(text, [*place, "model_name"], new)
    return edit(here, f"call {old} {new}", text)


def base(here: Here, name: str) -> Change | None:
    """`litellm.base NAME`: the address that all other deployments with one have, as its provider wants it."""
    found = yamltext.data(here.text(file_of(here)))["model_list"]
    known = {
        addresses.root(str(each["litellm_params"]["api_base"]))
        for each in found
        if "api_base" in each["litellm_params"]
    }
    provider = next(str(each["litellm_params"]["model"]) for each in found if each["model_name"] == name)
    if len(known) != 1:
        return None
    return row(here, name, "api_base", known.pop() + ("" if provider.startswith("anthropic/") else "/v1"))


def reference(here: Here) -> Change | None:
    """Keys that stand in the file, as references to variables that this shell has: one with the same value, or the
    master key's own. The file is not to be shared with a key in it, and LiteLLM needs a variable that is set.
    """
    text = here.text(file_of(here))
    done = []
    for path in here.finding.evidence:
        place = keys(_INDEX.sub(r".\1", path))
        name = _variable(here, place[-1], str(yamltext.at(yamltext.data(text), place)))
        if name:
            text = yamltext.put(text, place, f"{_REFERENCE}{name}")
            done.append(f"{path}: {_REFERENCE}{name}")
    return edit(here, f"set {', '.join(done)}", text) if done else None


def _variable(here: Here, key: str, said: str) -> str:
    environ = here.facts.environ
    same = sorted(name for name, each in environ.items() if each == said)
    if not same and key == "master_key" and len(environ.get(_MASTER, "")) >= _GUESSABLE:
        return _MASTER
    return next((name for name in same if name == _MASTER), same[0] if same else "")


def fallback(here: Here, section: str, name: str, target: str) -> Change:
    """`litellm.fallback SECTION NAME TARGET`: a model that is not there is no fallback of NAME any more."""
    text = here.text(file_of(here))
    rows = []
    for row in yamltext.data(text)[section]["fallbacks"]:
        left = {each: [to for to in row[each] if each != name or to != target] for each in row}
        rows += [kept] if (kept := {each: to for each, to in left.items() if to}) else []
    place = [section, "fallbacks"]
    return edit(
        here, f"take the fallback {target} out", yamltext.put(text, place, rows) if rows else yamltext.take(text, place)
    )


def readable(here: Here) -> Change | None:
    """A file that YAML cannot read for its indentation, put right."""
    text = yamlindent.aligned(yamlindent.untabbed(here.text(file_of(here))))
    return edit(here, "put its indentation right", text) if isinstance(yamltext.data(text), dict) else None


def address(here: Here, name: str) -> Change | None:
    """`litellm.address NAME`: deployments where nobody answers go to the one other address that the file has."""
    bases, dead = _bases(here, name)
    others = {each for each in bases if each and each != dead}
    new = others.pop() if len(others) == 1 else ""
    if addresses.parts(new).hostname not in {*addresses.LOOPBACK, addresses.parts(dead).hostname or ""}:
        return None  # no prompt goes to another machine for a repair
    return moved(here, name, new)


def moved(here: Here, name: str, new: str) -> Change:
    """`litellm.at NAME URL`: deployments with the address that NAME has go to this one, of the same machine."""
    bases, dead = _bases(here, name)
    text = here.text(file_of(here))
    for (place, each), old in zip(deployments(text), bases, strict=True):
        if old == dead:
            end = "/v1" if str(each["litellm_params"]["api_base"]).rstrip("/").endswith("/v1") else ""
            text = yamltext.put(text, [*place, "litellm_params", "api_base"], new + end)
    return edit(here, f"{name}: ask {new}", text)


def _bases(here: Here, name: str) -> tuple[list[str], str]:
    """The addresses of all deployments, without `/v1`, and the one of NAME."""
    found = yamltext.data(here.text(file_of(here)))["model_list"]
    bases = [addresses.root(str(each["litellm_params"].get("api_base", ""))) for each in found]
    return bases, next(base for each, base in zip(found, bases, strict=True) if each.get("model_name") == name)


def served(here: Here, model: str, names: str) -> Change | None:
    """`litellm.served MODEL NAME`: the engine's own name in place of one that it does not serve; none where it has several."""
    one = re.fullmatch(r"`([^`]+)`", names)
    text = here.text(file_of(here))
    if one is None:
        return None
    for place, each in deployments(text):
        provider, slash, old = str(each["litellm_params"]["model"]).partition("/")
        if slash and old == model:
            text = yamltext.put(text, [*place, "litellm_params", "model"], f"{provider}/{one[1]}")
    return edit(here, f"ask for {one[1]} in place of {model}", text)


def patience(here: Here) -> Change | None:
    """Every time limit that is shorter than the client's."""
    text = here.text(file_of(here))
    found = yamltext.data(text)
    short = [each for each in _TIMES if _number(found, each) < _LONG]
    rows = [
        ("model_list", str(number), "litellm_params", name)
        for number, each in enumerate(found.get("model_list") or [])
        for name in ("timeout", "stream_timeout")
        if _number(each, ("litellm_params", name)) < _LONG
    ]
    for path in [*short, *rows]:
        text = yamltext.put(text, path, _LONG)
    return edit(here, f"let requests take {_LONG} s", text) if short or rows else None


def _number(data: Any, path: tuple[str, ...]) -> float:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return float(data) if isinstance(data, int | float) else float("inf")


def _every(data: Any, path: list[str]) -> list[list[str]]:
    if "*" not in path:
        return [path]
    place = path.index("*")
    return [
        [*path[:place], str(number), *rest]
        for number, item in enumerate(yamltext.at(data, path[:place]))
        for rest in _every(item, path[place + 1 :])
    ]


VERBS: dict[str, Verb] = {
    "litellm.set": put,
    "litellm.unset": take,
    "litellm.rename": rename,
    "litellm.row": row,
    "litellm.called": called,
    "litellm.base": base,
    "litellm.fallback": fallback,
    "litellm.reference": reference,
    "litellm.readable": readable,
    "litellm.address": address,
    "litellm.at": moved,
    "litellm.once": once,
    "litellm.unify": unify,
    "litellm.served": served,
    "litellm.patience": patience,
}
