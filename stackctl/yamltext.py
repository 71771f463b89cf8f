"""One value of a YAML text set, or taken out, with everything else (comments, order, quotes) left as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

_INDENT = 2


def put(text: str, path: Sequence[str], value: Any) -> str:
    """`text` with `value` at `path` (keys; numbers count in lists). Raises ValueError where that cannot be done."""
    expected = _with(yaml.safe_load(text), list(path), value)
    return _checked(_put(text, list(path), value), expected)


def take(text: str, path: Sequence[str]) -> str:
    """`text` without the key at `path`. Raises ValueError where there is none."""
    expected = yaml.safe_load(text)
    at = expected
    for key in path[:-1]:
        at = at[_index(at, key)]
    try:
        del at[_index(at, path[-1])]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"there is no {'.'.join(path)}") from error
    return _checked(_take(text, list(path)), expected)


def rename(text: str, path: Sequence[str], name: str) -> str:
    """`text` with the key at `path` called `name`. Raises ValueError where there is none."""
    key, _, _ = _pair(_root(text), list(path))
    return text[: key.start_mark.index] + name + text[key.end_mark.index :]


def once(text: str) -> str:
    """`text` with the first key that stands twice only where it stands last, which is the one that YAML readers use.

    Raises ValueError where there is none, and where the first says more than the last.
    """
    key, value, holder, last = _doubled(_root(text))
    if isinstance(value, yaml.MappingNode) and not (isinstance(last, yaml.MappingNode) and _keys(value) <= _keys(last)):
        raise ValueError(f"the first {key.value} says more than the last")
    place = [each for each, _ in holder.value].index(key)
    following = holder.value[place + 1][0].start_mark.index
    return _checked(text[: key.start_mark.index] + text[following:], yaml.safe_load(text))


def _keys(node: yaml.MappingNode) -> set[str]:
    return {str(key.value) for key, _ in node.value}


def _doubled(node: yaml.Node | None) -> tuple[yaml.Node, yaml.Node, yaml.MappingNode, yaml.Node]:
    """A key that stands again behind it, its value, the mapping that holds them, and the last value."""
    waiting = [node]
    while waiting:
        at = waiting.pop(0)
        if isinstance(at, yaml.SequenceNode):
            waiting += at.value
        if not isinstance(at, yaml.MappingNode):
            continue
        last = {key.value: value for key, value in at.value if isinstance(key, yaml.ScalarNode)}
        for key, value in at.value:
            if isinstance(key, yaml.ScalarNode) and last[key.value] is not value:
                return key, value, at, last[key.value]
            waiting.append(value)
    raise ValueError("no key stands twice")


def _checked(text: str, expected: Any) -> str:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the text could not be changed: {error}") from error
    if found != expected and not (not found and not expected):
        raise ValueError("the text could not be changed")
    return text


def _root(text: str) -> yaml.Node | None:
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _index(holder: Any, key: str) -> Any:
    return int(key) if isinstance(holder, list) else key


def _with(data: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    if isinstance(data, list):
        data[int(path[0])] = _with(data[int(path[0])], path[1:], value)
        return data
    found = data if isinstance(data, dict) else {}
    found[path[0]] = _with(found.get(path[0]), path[1:], value)
    return found


def _flow(value: Any) -> str:
    """`value` on one line."""
    if isinstance(value, str) and set(value) & set("[]{},"):  # inside of braces they must be quoted
        return yaml.safe_dump([value], default_flow_style=True, width=10_000).strip()[1:-1]
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).strip().removesuffix("...").strip()


def _put(text: str, path: list[str], value: Any) -> str:
    node = _root(text)
    while path:
        if isinstance(node, yaml.SequenceNode):
            node, path = node.value[int(path[0])], path[1:]
            continue
        if not isinstance(node, yaml.MappingNode) or not node.value:
            break
        found = next((below for key, below in node.value if key.value == path[0]), None)
        if found is None:
            return _insert(text, node, path, value)
        node, path = found, path[1:]
    rest = value
    for key in reversed(path):
        rest = {key: rest}
    if node is None:
        return f"{text.rstrip()}\n{_flow_keys(path, value)}\n".lstrip("\n")
    start, end = node.start_mark.index, _end(text, node)
    gap = " " if start == end and text[start - 1 : start] == ":" else ""
    return text[:start] + gap + _flow(rest) + text[end:]


def _flow_keys(path: list[str], value: Any) -> str:
    """Nested keys, each on a line of its own, the value behind the last."""
    lines = [f"{' ' * _INDENT * depth}{key}:" for depth, key in enumerate(path)]
    return "\n".join(lines) + f" {_flow(value)}"


def _insert(text: str, node: yaml.MappingNode, path: list[str], value: Any) -> str:
    """A new last key of a mapping that has some."""
    if node.flow_style:
        rest: Any = value
        for key in reversed(path[1:]):
            rest = {key: rest}
        at = _end(text, node.value[-1][1])
        return f"{text[:at]}, {path[0]}: {_flow(rest)}{text[at:]}"
    column = node.value[0][0].start_mark.column
    at = _end(text, node.value[-1][1])
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    new = "\n".join(" " * column + line for line in _flow_keys(path, value).splitlines())
    return f"{text[:line_end]}\n{new}{text[line_end:] or chr(10)}"


def _end(text: str, node: yaml.Node) -> int:
    """Where the text of a node ends; a block's mark is at the next token, behind blank lines and comments."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(text, node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(text, node.value[-1])
    return (
        len(text[: node.end_mark.index].rstrip())
        if node.end_mark.index > node.start_mark.index
        else node.end_mark.index
    )


def _pair(node: yaml.Node | None, path: list[str]) -> tuple[yaml.Node, yaml.Node, yaml.MappingNode]:
    """The key, its value, and the mapping that holds them."""
    while isinstance(node, yaml.SequenceNode):
        node, path = node.value[int(path[0])], path[1:]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == path[0]:
                return (key, value, node) if len(path) == 1 else _pair(value, path[1:])
    raise ValueError(f"there is no key {path[0]}")


def _take(text: str, path: list[str]) -> str:
    key, value, holder = _pair(_root(text), path)
    start, end = key.start_mark.index, _end(text, value)
    place = [each for each, _ in holder.value].index(key)
    if len(holder.value) == 1:
        whole = (holder.start_mark.index, _end(text, holder))
        return f"{text[: whole[0]]}{{}}{text[whole[1] :]}"
    if place + 1 < len(holder.value):
        following = holder.value[place + 1][0].start_mark.index
        return text[:start] + text[following:]
    before = _end(text, holder.value[place - 1][1])
    if holder.flow_style:
        return text[:before] + text[end:]
    line = text.find("\n", end)
    line_before = text.find("\n", before)
    return text[: before if line_before < 0 else line_before] + ("\n" if line < 0 else text[line:])


def at(found: Any, path: Sequence[str]) -> Any:
    """What stands at `path` below `found`, numbers in it counting in lists. Raises KeyError, IndexError or TypeError."""
    for key in path:
        found = found[_index(found, key)]
    return found


def data(text: str) -> dict[str, Any]:
    """What the text says; raises ValueError when it is no mapping."""
    found = yaml.safe_load(text)
    if not isinstance(found, dict):
        raise ValueError("not a mapping")  # noqa: TRY004 - as for the others
    return found
