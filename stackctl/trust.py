"""What the user has agreed to: a `stack.yaml` found in the working directory, and the own code of a model.

A cloned repository could otherwise run programs (`command:`) or send prompts elsewhere (`url:`). One that the user
named with `--config`, or that is the user's own, is used; any other only once its content has been trusted. Code
that comes with a model is run only for the revision (a commit, or a hash of the code) that was agreed to.
"""

import os

from stackctl import files, paths
from stackctl.errors import ConfigError

LIMIT = 256 * 1024  # bytes; the largest sensible stack.yaml is a few kilobytes


class UntrustedError(ConfigError):
    """A file of the working directory that nobody has trusted."""


def _pointed(path: str) -> str:
    """What to correct: the option, or the variable that names the file."""
    told = os.environ.get("STACKCTL_CONFIG", "")
    if not told or os.path.abspath(told) != path:
        return "check the path given with --config"
    tilde = " (there, ~ is not your home directory: write $HOME)" if told.startswith("~") else ""
    return f"correct $STACKCTL_CONFIG, or unset it{tilde}"


def content(path: str, *, named: bool) -> bytes:
    """Read a configuration file that may be used; the bytes that were checked are the bytes returned.

    Raises ConfigError when it cannot be read, is too large, or is neither named, the user's own, nor trusted.
    """
    raw = _read(path)
    if named or path == os.path.join(paths.config_dir(), paths.LOCAL_FILE) or _digest(raw) in _trusted():
        return raw
    raise UntrustedError(
        f"{path} was found in the working directory and is not trusted: a stack.yaml can run programs and redirect prompts",
        remedy=f"read it, then type  stackctl trust  (or name it: -c {os.path.basename(path)})",
    )


def add(path: str) -> str:
    """Trust the file's present content; return its sha256."""
    digest = _digest(_read(path))
    _write(_trusted() | {digest}, _code())
    return digest


def add_code(model: str, revision: str) -> None:
    """Agree to run the code that comes with a model, at a revision: a commit of the hub, or `checkpoint.code_digest`."""
    known = _code()
    known[model] = sorted({*known.get(model, ()), revision})
    _write(_trusted(), known)


def code_revisions(model: str) -> frozenset[str]:
    """The revisions of a model whose code the user agreed to run."""
    return frozenset(_code().get(model, ()))


def _write(known: set[str], code: dict[str, list[str]]) -> None:
    import json

    files.private_dir(paths.home())
    found: dict[str, object] = {"schema": 1, "sha256": sorted(known)} | ({"code": code} if code else {})
    files.write_private(paths.trust_file(), json.dumps(found, indent=1) + "\n")


def _read(path: str) -> bytes:
    try:
        raw = files.read_given(path, LIMIT + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file {path}", remedy=_pointed(path)) from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", remedy="name a file that you can read") from error
    if len(raw) > LIMIT:
        raise ConfigError(
            f"{path} is larger than {LIMIT // 1024} KiB", remedy="a stack.yaml is a few kilobytes; check the path"
        )
    return raw


def _digest(raw: bytes) -> str:
    import hashlib

    return hashlib.sha256(raw).hexdigest()


def _trusted() -> set[str]:
    found = _file().get("sha256")
    return {each for each in found if isinstance(each, str)} if isinstance(found, list) else set()


def _code() -> dict[str, list[str]]:
    found = _file().get("code")
    if not isinstance(found, dict):
        return {}
    return {
        model: [each for each in revisions if isinstance(each, str)]
        for model, revisions in found.items()
        if isinstance(revisions, list)
    }


def _file() -> dict[str, object]:
    """What is written down; nothing where it cannot be read, so that it is asked for again."""
    import json

    try:
        found = json.loads(files.read_private(paths.trust_file()))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
