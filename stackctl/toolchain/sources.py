"""Where packages come from: the user's pip and uv configuration, handed to uv by its environment.

By environment, never by argv: an address can carry a password, and argv is readable by everyone on the machine.
What the user told uv (`UV_*`, uv.toml) wins over what they told pip. The order among pip's own places is pip's
(`pip config debug`): global files, user files, the environment's file, PIP_CONFIG_FILE, PIP_* variables.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})
# All that uv is given of the user's environment: nothing that holds a key of another service.
_PASSED = frozenset({
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "NETRC", "DBUS_SESSION_BUS_ADDRESS"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"),
    *("XDG_DATA_HOME", "XDG_RUNTIME_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
})  # fmt: skip
# Of uv's own variables those that say where files come from and how; not those that change what is installed where.
_PASSED_UV = (
    *("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_TORCH_BACKEND", "UV_OFFLINE"),
    *("UV_HTTP_", "UV_REQUEST_TIMEOUT", "UV_INSECURE_HOST", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_KEYRING_PROVIDER"),
    *("UV_CACHE_DIR", "UV_NO_CACHE", "UV_LINK_MODE", "UV_CONCURRENT_", "UV_CONFIG_FILE", "UV_NO_CONFIG"),
    *("UV_CREDENTIALS_DIR", "UV_PYTHON_INSTALL_DIR", "UV_PYTHON_DOWNLOADS", "UV_S3_", "UV_GCS_", "UV_AZURE_"),
)
_PLACES = ("UV_INDEX", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_TORCH_BACKEND")
_EXTRA = ("UV_INDEX", "UV_EXTRA_INDEX_URL")
_PASSWORD = re.compile(r"(?<=://)[^/\s@]+@")


@dataclass(frozen=True, slots=True)
class Sources:
    """uv's environment and flags. `custom` says that the user named places of their own: those are asked first."""

    env: Mapping[str, str] = field(repr=False)
    flags: tuple[str, ...] = ()
    custom: bool = False

    @property
    def extra(self) -> bool:
        """Whether the user named indexes beside the main one."""
        return any(self.env.get(name) for name in _EXTRA)

    def without_extra(self) -> Sources:
        """The same with the main index only."""
        kept = {name: value for name, value in self.env.items() if name not in _EXTRA}
        return Sources(kept, self.flags, self.custom)


def redact(text: str) -> str:
    """`text` without the user names and passwords of the addresses in it."""
    return _PASSWORD.sub("***@", text)


def sources(environ: Mapping[str, str] | None = None, prefix: str | None = None) -> Sources:
    """Read the user's configuration. `prefix` is the environment whose own pip.conf counts (default: ours)."""
    own = os.environ if environ is None else environ
    env = {name: value for name, value in own.items() if name in _PASSED or name.startswith(_PASSED_UV)}
    pip = pip_options(own, sys.prefix if prefix is None else prefix)
    flags: list[str] = []
    for name, value in _translated(pip):
        env.setdefault(name, value)
    if pip.get("proxy"):
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            if not (env.get(name) or env.get(name.lower()) or env.get("ALL_PROXY") or env.get("all_proxy")):
                env[name] = pip["proxy"]
    if _is_true(pip.get("no-index", "")):
        flags.append("--no-index")
    if env.get("UV_INDEX") or env.get("UV_EXTRA_INDEX_URL"):
        # pip takes the best version of all indexes; uv only of the first that has the name. Versions are pinned and
        # all but torch+cpu are pinned by hash, so a stranger's package of the same name is not taken.
        env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    env.setdefault("UV_PYTHON_DOWNLOADS", "never")
    env["UV_NO_PROGRESS"] = "1"
    return Sources(env, tuple(flags), custom=any(env.get(name) for name in _PLACES) or bool(flags) or _uv_toml(own))


def pip_options(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """pip's options for `install`, by name without dashes in front; later places override earlier ones."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in _pip_files(environ, prefix):
        for section, name, value in _read(path):
            if section in sections:
                sections[section][name] = value
    by_variable = {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }
    return {**sections["global"], **sections["install"], **by_variable}


def _pip_files(environ: Mapping[str, str], prefix: str) -> Iterator[str]:
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:  # pip's documented way to read no file at all
        return
    home = environ.get("HOME") or os.path.expanduser("~")
    for directory in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
        yield os.path.join(directory, "pip", "pip.conf")
    yield "/etc/pip.conf"
    if not (named and os.path.exists(named)):
        yield os.path.join(home, ".pip", "pip.conf")
        yield os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "pip", "pip.conf")
    yield os.path.join(prefix, "pip.conf")
    if named:
        yield named


def _read(path: str) -> Iterator[tuple[str, str, str]]:
    parser = configparser.RawConfigParser()
    try:
        with open(path, encoding="utf-8") as stream:
            parser.read_file(stream)
    except (OSError, UnicodeDecodeError, configparser.Error):
        return  # pip itself would say what is wrong with it; to us it says nothing
    for section in parser.sections():
        for name, value in parser.items(section):
            yield section, name.lower().replace("_", "-").removeprefix("--"), value


def _translated(pip: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if pip.get("index-url"):
        yield "UV_DEFAULT_INDEX", pip["index-url"].strip()
    for option, variable in (("extra-index-url", "UV_INDEX"), ("find-links", "UV_FIND_LINKS")):
        if pip.get(option):
            yield variable, " ".join(_place(each) for each in pip[option].split())
    for option, variable in (("cert", "SSL_CERT_FILE"), ("client-cert", "SSL_CLIENT_CERT")):
        if pip.get(option):
            yield variable, os.path.expanduser(pip[option].strip())
    if pip.get("trusted-host"):
        yield "UV_INSECURE_HOST", " ".join(pip["trusted-host"].split())
    if pip.get("keyring-provider", "") == "subprocess":
        yield "UV_KEYRING_PROVIDER", "subprocess"
    seconds = pip.get("timeout") or pip.get("default-timeout") or ""
    if seconds.strip().isdigit():
        yield "UV_HTTP_TIMEOUT", seconds.strip()


def _place(address: str) -> str:
    """An address as uv reads it: a comma would end it."""
    path = os.path.expanduser(address) if address.startswith("~") else address
    return path.replace(",", "%2C") if "://" in path else path


def _is_true(value: str) -> bool:
    return value.strip().lower() in _TRUE


def _uv_toml(environ: Mapping[str, str]) -> bool:
    """Whether a uv.toml of the user or the machine names places of its own; uv reads the file by itself."""
    if _is_true(environ.get("UV_NO_CONFIG", "")):
        return False
    home = environ.get("HOME") or os.path.expanduser("~")
    files = [environ.get("UV_CONFIG_FILE", "")] if environ.get("UV_CONFIG_FILE") else [
        os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "uv", "uv.toml"),
        *(os.path.join(each, "uv", "uv.toml") for each in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")),
        "/etc/uv/uv.toml",
    ]  # fmt: skip
    for path in files:
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                text = stream.read()
        except OSError:
            continue
        if re.search(
            r"(?m)^\s*(\[\[(pip\.)?index\]\]|(extra-)?index(-url)?\s*=|find-links\s*=|torch-backend\s*=)", text
        ):
            return True
    return False
