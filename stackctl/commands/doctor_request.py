"""What was asked of `stackctl doctor`. What was typed wrongly is refused before anything is looked at (exit code 2).

A configuration, model or server that is there and is broken is no mistake of that kind: that is what doctor finds (1).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl import addresses, fetch, files, names, redact, shell
from stackctl.errors import ConfigError

if TYPE_CHECKING:
    from stackctl.config import Flags

_LITELLM = re.compile(
    rb"(?:^(?:\xef\xbb\xbf)?|[{,]\s*)[\"']?(?:model_list|litellm_settings|router_settings)[\"']?\s*:|\blitellm_params[\"']?\s*:",
    re.MULTILINE,
)
_HUB_ID = re.compile(r"[\w.-]{1,96}(?:/[\w.-]{1,96})?")


@dataclass(frozen=True, slots=True)
class Request:
    """What to look at and how to show it. `url` is any server; `flags.config` may be a file of LiteLLM's own.

    `shell` is the one for which stdout holds the repairs of its variables.
    """

    flags: Flags
    url: str | None = None
    key_file: str | None = None
    static: bool = False
    strict: bool = False
    fix: bool = False
    yes: bool = False
    verbose: bool = False
    logs: tuple[str, ...] = ()
    report: str | None = None
    shell: str | None = None
    as_json: bool = False


def check(request: Request) -> None:
    """Raise ConfigError (2) for names, files and addresses on the command line that cannot be meant.

    A configuration that is gone may still be looked at by the stack that was started from it.
    """
    flags = request.flags
    if flags.name is not None:
        names.check_name(flags.name, what="--name")
    if flags.config is not None:
        _config(flags.config)
    if flags.model is not None:
        _model(flags.model, served=request.url is not None)
    if request.url is not None:
        _address(request.url)
    if request.report is not None:
        _report(request.report)
    if request.shell is not None:
        _shell(request.shell, fix=request.fix, as_json=request.as_json)


def _config(path: str) -> None:
    try:
        files.read_given(path, 1)
    except FileNotFoundError as error:
        if not path or names.started_from(os.path.abspath(path)) is None:
            said = f"there is no configuration file {path}" if path else "--config is empty"
            raise ConfigError(said, remedy="correct the path, or leave --config out") from error
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read: {error.strerror}", remedy="name a file that you can read") from error  # fmt: skip


def _model(name: str, *, served: bool) -> None:
    """`served` says that it is any server's name for a model."""
    if not name.strip() or name.startswith("-") or not name.isprintable():
        raise ConfigError(f"--model {name!r} is not a model name", remedy="give a Hugging Face id or a path")
    if served:
        return
    if fetch.is_local(name):
        if not os.path.exists(os.path.expanduser(name)):
            raise ConfigError(f"--model {name}: there is no such directory", remedy="correct the path, or give a Hugging Face id")  # fmt: skip
    elif not _HUB_ID.fullmatch(name):
        raise ConfigError(f"--model {name!r} is not a model name", remedy="give a Hugging Face id (OWNER/NAME) or a path")  # fmt: skip


def _address(url: str) -> None:
    place = addresses.parts(url)
    if place.username is not None or place.password is not None:  # not shown: terminals are recorded
        raise ConfigError("--url has a name or password in it, which no client of a model server sends", remedy="leave it out, and give the server's key by --key-file FILE")  # fmt: skip
    shown = redact.passwords(url)
    if not place.hostname:
        whole = f"http://{shown.strip().removeprefix('//')}"
        near = whole if "://" not in shown and addresses.parts(whole).hostname else "http://127.0.0.1:8000"
        raise ConfigError(f"--url is not an http address: {shown}", remedy=f"write it like  {near}")
    if "?" in url or "#" in url:
        bare = re.split(r"[?#]", shown)[0]
        raise ConfigError(f"--url has a `?` or `#` in it, and clients put their own path behind an address: {shown}", remedy=f"write  {bare}")  # fmt: skip


def _report(path: str) -> None:
    if os.path.lexists(path):
        raise ConfigError(f"--report {path} is there already", remedy="name a file that is not there yet")
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise ConfigError(f"--report {path} cannot be written: there is no such directory", remedy="correct the path")


def _shell(kind: str, *, fix: bool, as_json: bool) -> None:
    if kind not in shell.SHELLS:
        raise ConfigError(f"--shell {kind} is not known; it is one of {', '.join(shell.SHELLS)}", remedy="stackctl doctor --fix --shell sh")  # fmt: skip
    if not fix:
        raise ConfigError("--shell goes with --fix", remedy=f'eval "$(stackctl doctor --fix --shell {kind})"')
    if as_json:
        raise ConfigError("--shell and --json both want stdout", remedy="ask twice: --fix --shell first, then --json")


def is_litellm(path: str) -> bool:
    """Whether a configuration file is LiteLLM's own: it has one of its sections or rows, or is empty and called so."""
    try:
        text = files.read_given(path, 1 << 20)
    except OSError:
        return False
    return _LITELLM.search(text) is not None or (not text.strip() and "litellm" in os.path.basename(path))


def key(path: str | None) -> str | None:
    """The key in a file that somebody names. Raises ConfigError (2) for one without."""
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as stream:
            found = stream.read(1024).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"--key-file {path} cannot be read: {reason}", remedy="correct the path") from error
    if not found or not found.isascii() or not found.isprintable():
        raise ConfigError(f"--key-file {path} does not hold a key", remedy="it must hold the key alone, on one line")
    return found
