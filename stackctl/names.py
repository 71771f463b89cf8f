"""A stack's name, and which configuration file counts. Light: `stackctl env` loads it."""

from __future__ import annotations

import os

from stackctl import paths
from stackctl.errors import ConfigError

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_NAME = "default"
_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def check_name(name: str, *, what: str = "the stack's name") -> str:
    """Return `name` when it is 1-32 of a-z, 0-9 and `-`; raise ConfigError otherwise (it becomes a directory)."""
    if not 1 <= len(name) <= 32 or not _CHARS.issuperset(name):
        raise ConfigError(f"{what} {name!r} is not 1 to 32 of a-z, 0-9 and -", remedy="choose a name such as  coder-1")
    return name


def option(name: str) -> str:
    """What a command line needs to act on the stack `name`: nothing for the default one."""
    return "" if name == DEFAULT_NAME else f" --name {name}"


def config_file(given: str | None, environ: Mapping[str, str]) -> tuple[str | None, bool]:
    """The configuration file that counts, and whether the user named it: that is consent to what it says.

    The order is `--config`, $STACKCTL_CONFIG, ./stack.yaml, the user's own. None when there is none. A named one need
    not be there. Raises ConfigError for an empty name.
    """
    if given is None:
        given = environ.get("STACKCTL_CONFIG") or None
    if given is not None:
        if not given:
            raise ConfigError("--config is empty", remedy="give it a file, or leave it out")
        return os.path.abspath(given), True
    for candidate in (os.path.abspath(paths.LOCAL_FILE), os.path.join(paths.config_dir(), paths.LOCAL_FILE)):
        if os.path.isfile(candidate):
            return candidate, False
    return None, False


def usual_file(environ: Mapping[str, str]) -> str | None:
    """The configuration file that a command takes by itself: an untrusted one of the working directory is none."""
    from stackctl import trust

    path, named = config_file(None, environ)
    try:
        if path is not None:
            trust.content(path, named=named)
    except trust.UntrustedError:
        return None
    except ConfigError:  # it is taken, and refused
        pass
    return path


def stack_name(flag: str | None, given: str | None, environ: Mapping[str, str]) -> str:
    """The stack that a command acts on: flag, $STACKCTL_NAME, a usable file's `name:`, default.

    `down` and `status` must work when the file is broken or gone: one that was named is then looked up among the
    stacks that were started from it, and one found in the working directory does not count. Raises ConfigError when
    it cannot be known, as the wrong stack would be stopped.
    """
    if flag is None:
        flag = environ.get("STACKCTL_NAME") or None
    if flag is not None:
        return check_name(flag)
    path, named = config_file(given, environ)
    if path is None:
        return DEFAULT_NAME
    from stackctl import trust

    try:
        return check_name(_written(path, trust.content(path, named=named)))
    except ConfigError as error:
        if not named:
            return DEFAULT_NAME
        known = started_from(path)
        if known is None:
            raise ConfigError(error.message, remedy="name the stack itself: --name NAME") from error
        return known


def _written(path: str, raw: bytes) -> str:
    """The `name:` of a configuration file; YAML is only parsed where a look at the lines does not settle it."""
    if b"name" not in raw:
        return DEFAULT_NAME
    for line in raw.decode(errors="replace").splitlines():
        key, colon, value = line.partition(":")
        if key == "name" and colon and _CHARS.issuperset(value.strip()):
            return value.strip()
    from stackctl.yamlfile import load_yaml

    return str(load_yaml(path, raw)[0].get("name", DEFAULT_NAME))


def started_from(path: str) -> str | None:
    """The stack that was last started from the configuration file `path`; None when none or more than one was."""
    import json

    found = []
    stacks = os.path.join(paths.home(), "stacks")
    for name in os.listdir(stacks) if os.path.isdir(stacks) else []:
        try:
            with open(paths.StackPaths(name).ports, encoding="utf-8") as stream:
                if json.load(stream).get("config") == path:
                    found.append(name)
        except (OSError, ValueError, AttributeError):
            continue
    return found[0] if len(found) == 1 else None
