"""Which family a model belongs to, and so which of vLLM's parsers, template and flags it needs (families.yaml)."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

import msgspec

from stackctl import catalog, checkpoint

Flag = str | int | float | bool


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of the catalogue; the meaning of each field stands at the head of families.yaml.

    `match` (names) or `markers` (a chat template's text) is what the row was found by. `tool` is None where no parser
    is known to work: then `warn` or `needs_plugin` says why. `flags` are vLLM's without their dashes.
    """

    match: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    tool: str | None = None
    reasoning: str | None = None
    chat_template: str | None = None
    chat_template_hf_mode: str | None = None
    spare_template: str | None = None
    flags: dict[str, Flag] = {}
    flags_need_file: str | None = None
    needs_remote_code: bool = False
    needs_plugin: str | None = None
    warn: str = ""
    notes: str = ""
    confidence: Literal["high", "medium", "low"]
    source: str
    examples: tuple[str, ...] = ()


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """families.yaml as a whole."""

    schema: Literal[1]
    templates: tuple[Family, ...]
    families: tuple[Family, ...]


@cache
def catalogue() -> Catalogue:
    """All of families.yaml, read once."""
    return catalog.load("families.yaml", Catalogue)


def match(model: str) -> Family | None:
    """The family of a hub id or a local checkpoint by its name, or None.

    For a directory the name is the directory's, the hub id in a hub cache path, or the one written in its config.json,
    whichever is known first. Only a name is looked at: `from_template` looks at the checkpoint's content.
    """
    for name in _names(model):
        lowered = name.lower()
        last = lowered.rsplit("/", 1)[-1]
        for family in catalogue().families:
            if any(fnmatchcase(lowered if "/" in each else last, each.lower()) for each in family.match):
                return family
    return None


def from_template(chat_template: str) -> Family | None:
    """The family whose way of writing tool calls a chat template has, or None: a guess, with low confidence."""
    for family in catalogue().templates:
        if all(marker in chat_template for marker in family.markers):
            return family
    return None


def _names(model: str) -> list[str]:
    if not os.path.isdir(model):
        return [model]
    found: list[str] = []
    for path in dict.fromkeys((os.path.abspath(model), os.path.realpath(model))):
        # A hub cache path ends in a commit hash; its repository is further up, as models--ORG--NAME.
        found += [part[8:].replace("--", "/") for part in path.split(os.sep) if part.startswith("models--")]
        found.append(os.path.basename(path))
    return [*found, *checkpoint.declared_names(model)]
