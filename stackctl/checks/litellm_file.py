"""A LiteLLM configuration as LiteLLM reads it: the file, and what it includes."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from stackctl import files
from stackctl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

REFERENCE = "os.environ/"  # before the name of a variable
_LARGEST = 1 << 20  # bytes of a configuration that are read
_MOST = 50  # files
_DEEPEST, _VALUES = 60, 300_000  # levels and values of a file; real ones have ten and some thousands
_TAB = re.compile(rb" *\t")


def read(path: str) -> Mapping[str, Any]:
    """The settings of `path` and of all that it includes, merged as LiteLLM 1.106.2 does. Raises ConfigError for what
    LiteLLM could not read, with the line.

    Lists grow, every other value of an included file takes the place of what was there.
    """
    found, waiting, seen = dict(one(path)), [], {path}
    waiting += _included(found, path)
    while waiting and len(seen) < _MOST:
        entry, declared_in = waiting.pop(0)
        at = _place(entry, declared_in, path)
        if at in seen:
            continue
        seen.add(at)
        if not os.path.exists(at):
            raise ConfigError(f"{declared_in} includes {entry}, and there is no {at}", remedy="put the file there")
        more = dict(one(at))
        waiting += _included(more, at)
        for key, value in more.items():
            lists = isinstance(value, list) and isinstance(found.get(key), list)
            found[key] = [*found[key], *value] if lists else value
    return found


def with_base(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row's litellm_params with its address as `api_base`: LiteLLM 1.106.2 takes `base_url` for it, but for anthropic/."""
    other = params.get("base_url")
    if not isinstance(other, str) or not other or str(params.get("model", "")).startswith("anthropic/"):
        return params
    return {**params, "api_base": other}


def one(path: str) -> Mapping[str, Any]:
    """A file of LiteLLM's own, by plain YAML's rules. Raises ConfigError, with the line, for what is none."""
    import yaml

    raw = b""
    try:
        raw = files.read_given(path, _LARGEST + 1)
        if len(raw) > _LARGEST:
            raise ConfigError(f"{path} is larger than {_LARGEST >> 20} MiB", remedy="split it by  include:")
        raw.decode()
        found = yaml.load(raw, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a SafeLoader
        _bounded(found, path)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8", remedy="save the file as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", remedy="name a file that you can read") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else path
        said = getattr(error, "problem", None) or str(error).partition("\n")[0]
        if isinstance(error, RecursionError):
            said = "nested too deeply"
        if mark is not None and _TAB.match(b"".join(raw.splitlines()[mark.line : mark.line + 1])):
            said = "a tab stands before the first word, and YAML takes only blanks there"
        raise ConfigError(f"{where}: {said}", remedy="correct that line") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is not a mapping", remedy="it begins with  model_list:")
    return found


def _bounded(found: Any, path: str) -> None:
    """Raise ConfigError for what only aliases can make: a value within itself, or one that unfolds without end."""
    waiting, seen = [(found, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > _DEEPEST:
            raise ConfigError(f"{path}: nested too deeply", remedy="it has six levels at most")
        if seen > _VALUES:
            raise ConfigError(
                f"{path}: its aliases (*) unfold to more than {_VALUES:,} values", remedy="write it without them"
            )
        within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(each, depth + 1) for each in within]


def looked_up(value: Any, environ: Mapping[str, str]) -> str | None:
    """A text of the file, out of the environment where it names a variable; None where it is no text, or not set."""
    if not isinstance(value, str):
        return None
    return environ.get(value.removeprefix(REFERENCE)) if value.startswith(REFERENCE) else value


def _included(settings: dict[str, Any], path: str) -> list[tuple[str, str]]:
    """Takes `include:` out: each entry with the file that it stands in."""
    entries = settings.pop("include", [])
    if not isinstance(entries, list) or not all(isinstance(each, str) for each in entries):
        raise ConfigError(f"{path}: include is not a list of files", remedy="write  include: [models.yaml]")
    return [(each, path) for each in entries]


def _place(entry: str, declared_in: str, first: str) -> str:
    """Beside the file that names it, else beside the first one."""
    near, far = (os.path.abspath(os.path.join(os.path.dirname(each), entry)) for each in (declared_in, first))
    return far if not os.path.exists(near) and os.path.exists(far) else near
