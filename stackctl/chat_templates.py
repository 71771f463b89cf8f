"""The chat templates that vLLM's documentation names and its package does not ship.

They come from vLLM's source distribution, the first time that a planned model needs one; the source distribution and
each file of it are known by their hashes (catalog/chat_templates.yaml). All are kept together, beside the environments.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from stackctl import catalog, paths
from stackctl.errors import PreflightError, StackError
from stackctl.toolchain import atomic, marker, sdist

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "chat-templates"
_LARGEST = 1024 * 1024  # bytes; the real ones have some KiB


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which files are taken from which release; hashes are SHA-256, `size` is that of the download in bytes."""

    schema: int
    package: str
    version: str
    size: int
    sha256: str
    files: dict[str, str]


@cache
def record() -> Record:
    """All of chat_templates.yaml, read once."""
    return catalog.load("chat_templates.yaml", Record)


def digest() -> str:
    """Tells two records apart."""
    return hashlib.sha256(msgspec.json.encode(record())).hexdigest()


def directory() -> str:
    """Where the templates stand, or will stand: another record is another directory."""
    made = record()
    return os.path.join(paths.envs_dir(), f"{PREFIX}-{made.package}-{made.version}-{digest()[:12]}")


def ensure(name: str, engine: str, *, on_progress: Callable[[str], None]) -> str:
    """Have the template `name` (as `examples/tool_chat_template_....jinja`) on this machine; return its path.

    `engine` is the engine's name in the configuration. Raises PreflightError when it cannot be had.
    """
    made = record()
    target = directory()
    path = os.path.join(target, os.path.basename(name))
    if marker.is_complete(target, digest()) and os.path.isfile(path):
        return path
    what = f"the chat templates of {made.package} {made.version}"

    def fill(temporary: str) -> dict[str, object]:
        on_progress(f"Fetching {what} ({made.size / 1e6:.0f} MB, once)")
        archive = os.path.join(temporary, "source.tar.gz")
        sdist.download(made.package, made.version, made.sha256, archive, what)
        _extract(archive, temporary)
        os.unlink(archive)
        return {"package": made.package, "version": made.version}

    try:
        atomic.make_directory(target, digest(), fill, on_progress)
    except StackError as error:
        raise PreflightError(
            f"the model needs {os.path.basename(name)}, which comes with vLLM's source: {error.message}",
            remedy=f"{error.remedy}; or name a template of your own: engines.{engine}.args: {{chat-template: FILE}}",
            evidence=error.evidence,
        ) from error
    return path


def _extract(archive: str, into: str) -> None:
    """Write the files of the record, each checked, and nothing else."""
    made = record()
    top = f"{made.package}-{made.version}"
    with tarfile.open(archive, "r:gz") as source:
        wanted = {f"{top}/{name}": sha256 for name, sha256 in made.files.items()}
        for member in source:
            expected = wanted.pop(member.name, None)
            stream = source.extractfile(member) if expected and member.isfile() and member.size < _LARGEST else None
            if stream is None:
                continue
            content = stream.read()
            if hashlib.sha256(content).hexdigest() != expected:
                raise StackError(f"{member.name} is not the one that was reviewed", remedy="report this as a bug")
            with open(os.path.join(into, os.path.basename(member.name)), "xb") as file:
                file.write(content)
    if wanted:
        raise StackError(f"{top} has no {next(iter(wanted))}", remedy="report this as a bug")
