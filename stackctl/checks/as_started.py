"""A stack that runs was started with a file, flags and variables of another shell: what is recorded of them.

Else `stackctl up --model X` and then `stackctl doctor` would say that the stack is not what the configuration says.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stackctl import files, names
from stackctl.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.config import Flags, Loaded
    from stackctl.paths import StackPaths

_SHELL = {"flag", "environment"}
_VARIABLES = {"model": "STACKCTL_MODEL", "gateway": "STACKCTL_GATEWAY"}


def chosen(loaded: Loaded) -> dict[str, str]:
    """What flags and variables said over the file at the start, to be recorded: the model and the kind of gateway."""
    model, kind = loaded.engine.model, loaded.config.gateway.kind
    said = {
        "model": os.path.abspath(model) if model and os.path.isdir(model) else model,
        "gateway": str(kind),
    }
    paths = {"model": f"engines.{loaded.engine_name}.model", "gateway": "gateway.kind"}
    return {name: value for name, value in said.items() if value and loaded.origin(paths[name])[0] in _SHELL}


def source(flags: Flags, paths: StackPaths, environ: Mapping[str, str]) -> Flags:
    """With the file and the choices that the stack was started with, where the user names no others."""
    record = _record(paths)
    config = _recorded(flags, paths, environ)
    made = replace(flags, config=config) if config and os.path.isfile(config) else flags
    try:
        path, named = names.config_file(made.config, environ)
        if (path if named else names.usual_file(environ)) != record.get("config"):
            return made
    except StackError:
        return made
    said = record.get("chosen")
    known = {
        name: value
        for name, value in (said.items() if isinstance(said, dict) else ())
        if isinstance(value, str) and not environ.get(_VARIABLES.get(name, ""))
    }
    return replace(made, model=made.model or known.get("model"), gateway=made.gateway or known.get("gateway"))


def gone(flags: Flags, paths: StackPaths, environ: Mapping[str, str]) -> str:
    """The file that the stack was started from, where it is no longer there and the user names none; else empty."""
    recorded = _recorded(flags, paths, environ)
    return recorded if recorded and not os.path.lexists(recorded) else ""


def _recorded(flags: Flags, paths: StackPaths, environ: Mapping[str, str]) -> str:
    """The file that is recorded, where it is another than a command takes by itself and the user names none.

    Naming it at the start was consent: also to one of the working directory, which is not taken by itself.
    """
    try:
        _, named = names.config_file(flags.config, environ)
        usual = None if named else names.usual_file(environ)
    except StackError:
        return ""
    recorded = _record(paths).get("config")
    return recorded if isinstance(recorded, str) and not named and recorded != usual else ""


def _record(paths: StackPaths) -> dict[str, Any]:
    try:
        found = json.loads(files.read_private(paths.ports))
    except (StackError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
