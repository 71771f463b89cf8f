"""`stackctl service`: a systemd user unit that runs the stack at login, or at boot where lingering is on."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from stackctl import names, planning, process, runstate, units
from stackctl.errors import NotRunningError, PreflightError, StackError
from stackctl.output import Outcome
from stackctl.paths import StackPaths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.config import Flags

_TIMEOUT = 60.0  # seconds; systemctl asks a manager on this machine
# What a login shell knows and systemd's user manager does not. No keys: a unit file is readable.
_PASSED = (
    *("PATH", "STACKCTL_HOME", "STACKCTL_ENVS", "STACKCTL_MODEL", "STACKCTL_GATEWAY"),
    *("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "CUDA_VISIBLE_DEVICES"),
)
_INSTEAD = (
    "in a shell's start-up file, or cron's @reboot:  stackctl up -d --yes",
    "in a container, as its command (it is correct as PID 1):  stackctl up --yes",
    "on WSL 2: put  systemd=true  below  [boot]  in /etc/wsl.conf, then  wsl --shutdown",
)


def install(flags: Flags, *, now: bool, dry_run: bool) -> Outcome:
    """Write and enable the unit; with `now`, start it too. `dry_run` prints it and writes nothing.

    Raises ConfigError when the configuration cannot be used, PreflightError (exit code 3) where there is no systemd.
    """
    name = planning.prepare(flags).paths.name
    text = _text(flags, name, os.environ)
    if dry_run:
        return Outcome(stdout=text, data={"file": units.path(name), "unit": text})
    systemctl = _systemctl()
    if now and runstate.is_locked(StackPaths(name)):
        raise StackError(
            f"the stack `{name}` already runs, started by hand; nothing was changed",
            remedy="stackctl down, then this again",
        )
    file = units.write(name, text)
    _call(systemctl, "daemon-reload")
    _call(systemctl, "enable", units.unit_name(name))
    lines = [f"stackctl: {file} is enabled: the stack `{name}` starts when you log in"]
    if now:
        _call(systemctl, "--no-block", "restart", units.unit_name(name))
        lines.append(f"          and now: journalctl --user -f -u {units.unit_name(name)}")
    lines.append("          at boot, before anybody logs in:  loginctl enable-linger")
    return Outcome(lines=lines, data={"name": name, "file": file, "started": now})


def uninstall(flag: str | None, config: str | None) -> Outcome:
    """Stop and remove the unit. Raises NotRunningError (exit code 4) when there is none."""
    name = names.stack_name(flag, config, os.environ)
    file = units.path(name)
    if not units.is_ours(file):
        raise NotRunningError(f"there is no service for the stack `{name}`", remedy="stackctl service install")
    drop(file)
    return Outcome(lines=[f"stackctl: {file} is removed; the stack is no longer a service"], data={"file": file})


def drop(file: str) -> None:
    """Stop a unit and remove it; without a manager to ask, only remove it."""
    if _is_booted():
        unit = os.path.basename(file)
        _call(_systemctl(), "disable", "--now", unit)
        units.remove(file)
        _call(_systemctl(), "daemon-reload")
    units.remove(file)


def status(flag: str | None, config: str | None) -> Outcome:
    """What systemd says of the unit. Raises NotRunningError (exit code 4) when there is none."""
    name = names.stack_name(flag, config, os.environ)
    file = units.path(name)
    if not units.is_ours(file):
        raise NotRunningError(f"there is no service for the stack `{name}`", remedy="stackctl service install")
    wanted = ("UnitFileState", "ActiveState", "SubState", "Result", "StatusText")
    said = _call(_systemctl(), "show", f"--property={','.join(wanted)}", units.unit_name(name))
    found = {key: value for key, _, value in (line.partition("=") for line in said.splitlines())}
    line = f"stackctl: {units.unit_name(name)} is {found.get('UnitFileState') or '?'} and {found.get('ActiveState')}"
    line += f" ({found['StatusText']})" if found.get("StatusText") else ""
    return Outcome(
        0 if found.get("ActiveState") in {"active", "activating", "reloading"} else NotRunningError.exit_code,
        lines=[line, f"          its words:  journalctl --user -u {units.unit_name(name)}"],
        data={"name": name, "file": file, **{key: found.get(key, "") for key in wanted}},
    )


def _text(flags: Flags, name: str, environ: Mapping[str, str]) -> str:
    # A file in the working directory is not named: naming is consent, and it is trusted only as it is now.
    named = flags.config or environ.get("STACKCTL_CONFIG")
    argv = [sys.executable, "-P", "-m", "stackctl", "up", "--yes", "--name", name]
    argv += ["-c", os.path.abspath(named)] if named else []
    argv += ["--model", flags.model] if flags.model else []
    argv += ["--gateway", flags.gateway] if flags.gateway else []
    environment = {each: environ[each] for each in _PASSED if environ.get(each)}
    return units.render(name, argv, environment, os.getcwd())


def _is_booted() -> bool:
    return os.path.isdir(units.BOOTED)


def _systemctl() -> str:
    program = shutil.which("systemctl") if _is_booted() else None
    if program is None:
        raise PreflightError(
            "systemd does not run here (a container, WSL 1, another init), so there is no service to install",
            remedy="start it as shown above",
            evidence=_INSTEAD,
        )
    return program


def _call(systemctl: str, *words: str) -> str:
    env = {**os.environ}
    env.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")  # `su` and cron do not set it
    done = process.run([systemctl, "--user", *words], env=env, timeout=_TIMEOUT)
    if done.returncode != 0:
        raise StackError(
            f"systemctl --user {' '.join(words)} failed",
            remedy="log in as this user itself (not by su or sudo), or  loginctl enable-linger",
            evidence=tuple(done.output.splitlines()[-5:]),
        )
    return done.output
