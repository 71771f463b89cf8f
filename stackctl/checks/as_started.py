"""A stack that runs was started with a file and flags that the record does not hold word by word: what they must have been.

Else `stackctl up --model X` and then `stackctl doctor` would say that the stack is not what the configuration says.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from stackctl import files, names
from stackctl.errors import StackError
from stackctl.model import ServiceKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.config import Flags, Loaded
    from stackctl.paths import StackPaths
    from stackctl.runstate import StackState


def source(flags: Flags, paths: StackPaths, environ: Mapping[str, str]) -> Flags:
    """With the configuration file that the stack was started from, where the user names none."""
    recorded = _recorded(flags, paths, environ)
    return replace(flags, config=recorded) if recorded and os.path.isfile(recorded) else flags


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
        recorded = json.loads(files.read_private(paths.ports)).get("config")
    except (StackError, OSError, ValueError, AttributeError, RecursionError):
        return ""
    return recorded if isinstance(recorded, str) and not named and recorded != usual else ""


def choices(flags: Flags, loaded: Loaded, state: StackState) -> Flags:
    """With the model and the kind of gateway that run, where nothing but defaults speaks against them."""
    made = flags
    path = f"engines.{loaded.engine_name}"
    served = next((each.model for each in state.services if each.kind is ServiceKind.ENGINE), "")
    # a hub id is served by its own name; of a directory only the last part is left, which is no flag any more
    if loaded.origin(f"{path}.model")[0] == "default" and loaded.engine.url is None and served.count("/") == 1:
        made = replace(made, model=served)
    services = {each.kind for each in state.services}
    if loaded.origin("gateway.kind")[0] == "default" and services and ServiceKind.GATEWAY not in services:
        made = replace(made, gateway="direct")
    return made
