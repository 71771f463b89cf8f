"""YAML in, plain data out: safe, bounded, and with the line of each key."""

from __future__ import annotations

from typing import Any

import yaml

from stackctl.errors import ConfigError

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEPTH = 20


def load_yaml(path: str, raw: bytes) -> tuple[dict[str, Any], dict[str, int]]:
    """Parse `raw` (read from `path`) into a mapping and {dotted path: line, from 1}.

    An empty file is an empty mapping. Raises ConfigError for what is not UTF-8, not YAML, not a mapping, has
    duplicate keys, anchors (a few lines of which expand to gigabytes, or to a cycle), or tags of other languages.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8", remedy="save the file as UTF-8") from error
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):  # before anything is built: 100 kB of `[` took 17 s
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH:
                raise ConfigError(
                    f"{path}:{_line(event.start_mark)}: nested too deeply", remedy="a stack.yaml has four levels"
                )
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError(
                    f"{path}:{_line(event.start_mark)}: anchors and aliases (&, *) are not used in a stack.yaml",
                    remedy="write the value out",
                )
        node = yaml.compose(text, Loader=_Loader)
        lines: dict[str, int] = {}
        if node is not None:
            _walk(node, "", lines, path)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{_line(mark)}" if mark else path
        problem = str(getattr(error, "problem", None) or error).splitlines()[0]
        if "could not determine a constructor" in problem:
            problem = "a tag (!...) that is not plain YAML"
        if "integer string conversion" in problem:
            problem = "a number with thousands of digits"
        raise ConfigError(f"{where}: {problem}", remedy="correct the YAML at that line") from error
    if data is None:
        return {}, {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: the file must be a mapping of keys, not a {type(data).__name__}",
            remedy="start it with a key such as  engines:",
        )
    return data, lines


def _walk(node: yaml.Node, prefix: str, lines: dict[str, int], path: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _walk(each, prefix, lines, path)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        line = _line(key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{path}:{line}: a key must be plain text", remedy="correct the YAML at that line")
        name = str(key.value)
        full = f"{prefix}.{name}" if prefix else name
        if name in seen:
            raise ConfigError(f"{path}:{line}: the key `{full}` stands twice", remedy="keep one of the two")
        seen.add(name)
        lines[full] = line
        _walk(value, full, lines, path)


def _line(mark: Any) -> int:
    """The line of a mark, from 1."""
    return int(mark.line) + 1 if mark is not None else 1
