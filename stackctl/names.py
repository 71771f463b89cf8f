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


def config_file(named: str | None, environ: Mapping[str, str]) -> str | None:
    """The configuration file that counts, or None: `--config`, $STACKCTL_CONFIG, ./stack.yaml, the user's own.

    Raises ConfigError when a named one is not there.
    """
    named = named or environ.get("STACKCTL_CONFIG")
    if named:
        if not os.path.isfile(named):
            raise ConfigError(f"there is no configuration file {named}", remedy="check the path given with --config")
        return os.path.abspath(named)
    for candidate in (os.path.abspath(paths.LOCAL_FILE), os.path.join(paths.config_dir(), paths.LOCAL_FILE)):
        if os.path.isfile(candidate):
            return candidate
    return None


def stack_name(flag: str | None, named: str | None, environ: Mapping[str, str]) -> str:
    """The stack that a command acts on, without parsing YAML: flag, $STACKCTL_NAME, a usable file's `name:`, default.

    A file that cannot be read or is not trusted does not count: `down` and `status` must work all the same.
    """
    if flag or environ.get("STACKCTL_NAME"):
        return check_name(flag or environ["STACKCTL_NAME"])
    path = config_file(named, environ)
    if path is None:
        return DEFAULT_NAME
    from stackctl import trust

    try:
        text = trust.content(path, named=bool(named or environ.get("STACKCTL_CONFIG"))).decode()
    except (ConfigError, OSError, UnicodeDecodeError):
        return DEFAULT_NAME
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if key == "name" and colon:
            return check_name(value.partition(" #")[0].strip().strip("'\""))
    return DEFAULT_NAME
