"""Where everything lives. Only `os` is imported: `stackctl env` loads this module.

All of it is under `$STACKCTL_HOME` when that is set, else under the XDG state directory; the user's own
configuration is under `$STACKCTL_HOME/config`, else the XDG configuration directory. Managed environments alone
can be put elsewhere with `$STACKCTL_ENVS`, so that many stacks and test runs share them.
"""

import os

from stackctl.errors import PreflightError

LOCAL_FILE = "stack.yaml"  # of a working directory, and of the user's configuration directory


def _xdg(variable: str, default: str) -> str:
    value = os.environ.get(variable, "")
    if os.path.isabs(value):
        return value
    user = os.path.expanduser("~")
    if not os.path.isabs(user):
        raise PreflightError("no home directory is known", remedy="set HOME, or STACKCTL_HOME to a directory of yours")
    return os.path.join(user, default)


def home() -> str:
    """The directory of all state."""
    own = os.environ.get("STACKCTL_HOME")
    return os.path.abspath(own) if own else os.path.join(_xdg("XDG_STATE_HOME", ".local/state"), "stackctl")


def config_dir() -> str:
    """The user's own configuration: `stack.yaml` and `templates/` overrides."""
    own = os.environ.get("STACKCTL_HOME")
    if own:
        return os.path.join(os.path.abspath(own), "config")
    return os.path.join(_xdg("XDG_CONFIG_HOME", ".config"), "stackctl")


def envs_dir() -> str:
    """Managed Python environments, shared between stacks."""
    return os.path.abspath(os.environ.get("STACKCTL_ENVS") or os.path.join(home(), "envs"))


def models_dir() -> str:
    """Models that stackctl made itself (the embedded default); hub downloads stay in the hub's own cache."""
    return os.path.join(envs_dir(), "models")


def cache_dir() -> str:
    """Compilation caches of the engine."""
    return os.path.join(home(), "cache")


def trust_file() -> str:
    """Content hashes of the `stack.yaml` files that the user trusts."""
    return os.path.join(home(), "trusted.json")


def environments_file() -> str:
    """Which managed environment is in use, and which was before (`stackctl upgrade`)."""
    return os.path.join(home(), "environments.json")


def trial_file() -> str:
    """The configuration of the stack that proves new environments, as long as there is anything of it."""
    return os.path.join(home(), "upgrade-trial.yaml")


def models_file() -> str:
    """Which models of the hub's cache stackctl fetched."""
    return os.path.join(home(), "models.json")


class StackPaths:
    """The files of one stack, all below `root`."""

    __slots__ = (
        "client_key",
        "engine_dir",
        "failed",
        "gateway_dir",
        "lock",
        "logs",
        "name",
        "ports",
        "requests",
        "root",
        "state",
        "tmp",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = root = os.path.join(home(), "stacks", name)
        self.lock = os.path.join(root, "lock")  # flock'd by the supervisor for its whole life
        self.state = os.path.join(root, "state.json")
        self.client_key = os.path.join(root, "client.key")
        self.ports = os.path.join(root, "ports.json")  # those that it had last, and the file it came from
        self.logs = os.path.join(root, "logs")
        self.failed = os.path.join(self.logs, "failed.json")  # why the last start failed; gone with the next one
        self.requests = os.path.join(self.logs, "requests.jsonl")  # what the gateway was asked: gateway_requests.py
        self.gateway_dir = os.path.join(root, "gateway")  # rendered files; the gateway's own working directory
        self.engine_dir = os.path.join(root, "engine")  # the engine's own empty working directory
        self.tmp = os.path.join(root, "tmp")  # TMPDIR of the services; removed by `down`

    def log(self, service: str) -> str:
        """The file that a service appends its output to."""
        return os.path.join(self.logs, f"{service}.log")
