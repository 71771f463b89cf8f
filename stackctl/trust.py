"""Whether a `stack.yaml` found in the working directory may be used.

A cloned repository could otherwise run programs (`command:`) or send prompts elsewhere (`url:`). One that the user
named with `--config`, or that is the user's own, is used; any other only once its content has been trusted.
"""

import os

from stackctl import files, paths
from stackctl.errors import ConfigError

LIMIT = 256 * 1024  # bytes; the largest sensible stack.yaml is a few kilobytes


def content(path: str, *, named: bool) -> bytes:
    """Read a configuration file that may be used; the bytes that were checked are the bytes returned.

    Raises ConfigError when it cannot be read, is too large, or is neither named, the user's own, nor trusted.
    """
    raw = _read(path)
    if named or path == os.path.join(paths.config_dir(), paths.LOCAL_FILE) or _digest(raw) in _trusted():
        return raw
    raise ConfigError(
        f"{path} was found in the working directory and is not trusted: a stack.yaml can run programs and redirect prompts",
        remedy=f"read it, then type  stackctl trust  (or name it: -c {os.path.basename(path)})",
    )


def add(path: str) -> str:
    """Trust the file's present content; return its sha256."""
    import json

    digest = _digest(_read(path))
    files.private_dir(paths.home())
    known = _trusted() | {digest}
    files.write_private(paths.trust_file(), json.dumps({"schema": 1, "sha256": sorted(known)}, indent=1) + "\n")
    return digest


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            raw = stream.read(LIMIT + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no configuration file {path}", remedy="check the path given with --config"
        ) from error
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
    import json

    try:
        data = json.loads(files.read_private(paths.trust_file()))
        return {str(each) for each in data["sha256"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
