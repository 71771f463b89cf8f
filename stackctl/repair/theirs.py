"""Repairs of the user's own files: Claude Code's settings, the shell's start-up files. Shown, and a copy is kept."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from stackctl.repair.change import Change, Edit

if TYPE_CHECKING:
    from stackctl.repair.context import Here, Verb

_SETS = re.compile(r"^(/.*?\.json):? sets ([A-Za-z_][A-Za-z0-9_]*)", re.MULTILINE)
_HELPER = re.compile(r"^(/.*?\.json):? names an apiKeyHelper", re.MULTILINE)
_LINE = re.compile(r"^(/.*?):? line (\d+) sets ", re.MULTILINE)
_EDITOR = re.compile(r"^(/.*?\.json):? claudeCode\.environmentVariables sets ([A-Z0-9_, ]+):", re.MULTILINE)
_CHMOD = re.compile(r"chmod [0-7]+ (\S+)")
_IN_THE_WAY = re.compile(r"^the (?:state directory|lock) (?P<path>/.*?) (?:is a symbolic link|cannot be opened \(Not a directory\)|is not a file)", re.MULTILINE)  # fmt: skip
_NOT_JSON = re.compile(r"^(?P<path>/.*?\.json) is not JSON", re.MULTILINE)
_TEXT = r'(?P<text>"(?:[^"\\]|\\.)*")'
_SPARE = re.compile(rf"{_TEXT}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMA = re.compile(rf"{_TEXT}|,(?=\s*[}}\]])")
_PRIVATE_FILE, _PRIVATE_DIR = 0o600, 0o700


def settings(here: Here) -> Change | None:
    """What the finding names, out of that settings file of Claude Code's: variables of its `env`, a setting, or its apiKeyHelper."""
    helper = _HELPER.search(here.said)
    if helper:
        data = json.loads(here.text(helper[1]).removeprefix("\ufeff"))
        del data["apiKeyHelper"]
        return _json(here, helper[1], data, f"take apiKeyHelper out of {helper[1]}")
    found = _SETS.findall(here.said)
    if not found:
        return None
    path = found[0][0]
    data = json.loads(here.text(path).removeprefix("\ufeff"))
    for name in [name for each, name in found if each == path]:
        data.get("env", {}).pop(name, None)
        data.pop(name, None)  # a setting of its own
    if not data.get("env", True):
        del data["env"]
    return _json(here, path, data, f"take {', '.join(sorted({name for _, name in found}))} out of {path}")


def _json(here: Here, path: str, data: Any, says: str) -> Change:
    """The file's own indentation is kept."""
    text = here.text(path)
    indent = re.search(r"\n([ \t]+)\S", text)
    made = json.dumps(data, indent=indent[1] if indent else None, ensure_ascii=False)
    return Change(says, (Edit(path, made + ("\n" if text.endswith("\n") else ""), theirs=True),))


def start_file(here: Here) -> Change | None:
    """A line of a shell's start-up file made a comment, or the editor's variables taken out."""
    line, editor = _LINE.search(here.said), _EDITOR.search(here.said)
    if line:
        return comment(here, line[1], line[2])
    if not editor:
        return None
    names = {each.strip() for each in editor[2].split(",")}
    data = json.loads(here.text(editor[1]))  # one with comments is left to its owner
    rows = data["claudeCode.environmentVariables"]
    data["claudeCode.environmentVariables"] = [each for each in rows if each.get("name") not in names]
    return _json(here, editor[1], data, f"take {', '.join(sorted(names))} out of {editor[1]}")


def comment(here: Here, path: str, line: str) -> Change | None:
    """`comment FILE LINE`, counted from 1."""
    lines = here.text(path).splitlines(keepends=True)
    number = int(line) - 1
    if not 0 <= number < len(lines):
        return None
    lines[number] = f"# {lines[number]}"
    return Change(f"make line {line} of {path} a comment", (Edit(path, "".join(lines), theirs=True),))


def aside(_: Here, path: str) -> Change | None:
    """`aside FILE`."""
    return Change(f"move {path} aside", (Edit(path, None),)) if os.path.lexists(path) else None


def proper(here: Here) -> Change | None:
    """Settings with comments or with commas before a closing bracket, which JSON does not have, without them."""
    found = _NOT_JSON.search(here.said)
    if not found:
        return None
    text = _SPARE.sub(lambda each: each["text"] or "", here.text(found["path"]))
    text = _LAST_COMMA.sub(lambda each: each["text"] or "", text)
    if not isinstance(json.loads(text), dict):
        return None
    return Change(f"make {found['path']} JSON", (Edit(found["path"], text, theirs=True),))


def private(here: Here, path: str = "") -> Change | None:
    """`private [FILE]`: nobody else may read it; without a name, what the finding says `chmod` of.

    What stands where a directory or the lock of ours must be is moved aside; but not a link to where somebody's state is.
    """
    odd = _IN_THE_WAY.search(here.said)
    if odd:
        kept = os.path.islink(odd["path"]) and os.path.isdir(odd["path"]) and os.listdir(odd["path"])
        return None if kept else aside(here, odd["path"])
    found = _CHMOD.search(here.said)
    path = path or (found[1] if found else "")
    if not path or os.path.islink(path) or not os.path.lexists(path):
        return None
    return Change(f"make {path} private", modes=((path, _PRIVATE_DIR if os.path.isdir(path) else _PRIVATE_FILE),))


VERBS: dict[str, Verb] = {
    "settings.unset": settings,
    "start-file": start_file,
    "comment": comment,
    "aside": aside,
    "private": private,
    "settings.proper": proper,
}
