"""systemd user units (systemd.service(5)): their text, where they stand, and their removal."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from stackctl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BOOTED = "/run/systemd/system"  # sd_booted(3): it exists exactly where systemd is the init
_MARK = "# Written by `stackctl service install`; `stackctl service uninstall` removes it.\n"
_PREFIX = "stackctl-"


def unit_name(stack: str) -> str:
    """The unit of a stack."""
    return f"{_PREFIX}{stack}.service"


def directory() -> str:
    """Where the user's own units stand (systemd.unit(5))."""
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    base = configured if os.path.isabs(configured) else os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "systemd", "user")


def path(stack: str) -> str:
    """The file of a stack's unit."""
    return os.path.join(directory(), unit_name(stack))


def is_ours(file: str) -> bool:
    """Whether a unit file is a real file that stackctl wrote."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, encoding="utf-8") as stream:
            return stream.readline() == _MARK
    except (OSError, UnicodeDecodeError):
        return False


def installed() -> list[str]:
    """The files of all units that stackctl wrote."""
    try:
        names = sorted(os.listdir(directory()))
    except OSError:
        return []
    files = [os.path.join(directory(), name) for name in names if name.startswith(_PREFIX)]
    return [file for file in files if is_ours(file)]


def write(stack: str, text: str) -> str:
    """Write a unit; return its file. Raises ConfigError when somebody else's has that name."""
    file = path(stack)
    if os.path.lexists(file) and not is_ours(file):
        raise ConfigError(
            f"{file} is not stackctl's; it is left as it is", remedy="remove it, or choose another --name"
        )
    os.makedirs(os.path.dirname(file), exist_ok=True)
    fresh = f"{file}.{os.getpid()}.tmp"
    try:
        with open(fresh, "x", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(fresh, file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
    return file


def remove(file: str) -> None:
    """Remove a unit, and the link by which it was enabled."""
    link = os.path.join(os.path.dirname(file), "default.target.wants", os.path.basename(file))
    for each in (link if os.path.islink(link) else "", file if is_ours(file) else ""):
        with contextlib.suppress(FileNotFoundError):
            if each:
                os.unlink(each)


def render(stack: str, argv: Sequence[str], environment: Mapping[str, str], cwd: str) -> str:
    """The text of a unit that runs `argv` in the foreground. Raises ConfigError for what no unit can hold."""
    variables = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in environment.items())
    command = " ".join(_quoted(each).replace("$", "$$") for each in argv)
    where = f"WorkingDirectory={_plain(cwd)}\n" if cwd else ""
    return f"""{_MARK}# Keys that the configuration takes from the environment (env/NAME, HF_TOKEN) are not in here:
#   systemctl --user edit {unit_name(stack)}   and there   [Service] EnvironmentFile=FILE
[Unit]
Description=stackctl: the stack {stack}
Documentation=man:systemd.service(5)
# A model that will not start is not tried for ever.
StartLimitIntervalSec=30min
StartLimitBurst=3

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
{where}{variables}# The first start downloads gigabytes; stackctl itself judges a start by its progress.
TimeoutStartSec=infinity
# TERM goes to stackctl alone, which takes its services down in order; what should be left is killed.
KillMode=mixed
TimeoutStopSec=90
Restart=on-failure
RestartSec=10
# 2: the configuration is wrong; 3: the machine is not fit. Trying again changes neither.
RestartPreventExitStatus=2 3
SuccessExitStatus=130 143

[Install]
WantedBy=default.target
"""


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ConfigError(f"a unit cannot hold {text!r}", remedy="use a path without control characters")
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """A word as systemd.syntax(7) reads it back."""
    inner = _plain(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'
