"""OpenCode's own configuration files: what in them would keep it from the stack's model. They are only read."""

from __future__ import annotations

import os

from stackctl.clients.conflicts import home_of, jsonc, text_of

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_NAMES = ("opencode.json", "opencode.jsonc")
_AGENTS = ("agent", "mode")  # `mode` is the old name
_FOLDERS = ("agent", "agents", "mode", "modes")
_HIGHEST = 32  # directories up to the repository's root


def read(environ: Mapping[str, str], cwd: str) -> dict[str, dict[str, Any]]:
    """The files that are there, weakest first: the user's, $OPENCODE_CONFIG, the project's up to the repository's root."""
    own = os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home_of(environ), ".config"), "opencode")
    paths = [os.path.join(own, name) for name in ("config.json", *_NAMES)]
    paths += [environ["OPENCODE_CONFIG"]] if environ.get("OPENCODE_CONFIG") else []
    projects = list(reversed(_upwards(cwd)))
    for directory in projects:
        paths += [os.path.join(directory, below, name) for below in ("", ".opencode") for name in _NAMES]
    found = {path: jsonc(text_of(path)) for path in paths}
    for directory in (own, *(os.path.join(each, ".opencode") for each in projects)):
        found |= _described(directory)
    return {path: said for path, said in found.items() if said}


def _described(directory: str) -> dict[str, dict[str, Any]]:
    """The agents that are Markdown files with a model in their front matter."""
    found = {}
    for kind in _FOLDERS:
        folder = os.path.join(directory, kind)
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            path = os.path.join(folder, name)
            head = text_of(path).partition("---")[2].partition("\n---")[0] if name.endswith(".md") else ""
            models = [line.partition(":")[2].strip(" '\"") for line in head.splitlines() if line.startswith("model:")]
            if models:
                found[path] = {"agent": {name.removesuffix(".md"): {"model": models[-1]}}}
    return found


def _upwards(cwd: str) -> list[str]:
    found = [cwd]
    while len(found) < _HIGHEST and not os.path.exists(os.path.join(found[-1], ".git")):
        above = os.path.dirname(found[-1])
        if above == found[-1]:
            return [cwd]  # no repository: only the directory itself counts
        found.append(above)
    return found


def about_models(said: Mapping[str, Any], provider: str) -> list[str]:
    """What a file says that would choose another model, or hide `provider`; in words."""
    names = [f"{name} to {said[name]}" for name in ("model", "small_model") if isinstance(said.get(name), str)]
    for kind in _AGENTS:
        names += [f"{kind}.{name}.model to {model}" for name, model in _models(said, kind).items()]
    enabled, disabled = said.get("enabled_providers"), said.get("disabled_providers")
    names += ["enabled_providers"] if isinstance(enabled, list) and provider not in enabled else []
    names += ["disabled_providers"] if isinstance(disabled, list) and provider in disabled else []
    return names


def overrides(files: Iterable[Mapping[str, Any]], model: str, provider: str) -> dict[str, Any]:
    """What must be merged over these files, so that every agent in them uses `model` of `provider`."""
    found: dict[str, Any] = {}
    for said in files:
        for kind in _AGENTS:
            for name in _models(said, kind):
                found.setdefault(kind, {})[name] = {"model": model}
        enabled, disabled = said.get("enabled_providers"), said.get("disabled_providers")
        if isinstance(enabled, list):
            found["enabled_providers"] = [*(each for each in enabled if each != provider), provider]
        if isinstance(disabled, list) and provider in disabled:
            found["disabled_providers"] = [each for each in disabled if each != provider]
    return found


def _models(said: Mapping[str, Any], kind: str) -> dict[str, str]:
    """The agents of a file that have a model of their own."""
    agents = said.get(kind)
    return {
        name: agent["model"]
        for name, agent in (agents.items() if isinstance(agents, dict) else ())
        if isinstance(agent, dict) and isinstance(agent.get("model"), str)
    }
