"""Files of a checkpoint that are damaged or missing, fetched again: just these, of the revision that is here."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stackctl.hub import download, failures, transfer
from stackctl.hub.cache import wanted
from stackctl.toolchain.atomic import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SNAPSHOT = re.compile(r"^(?P<repo>.+/models--(?P<id>[^/]+))/snapshots/(?P<commit>[0-9a-f]{40})$")
_READ = 256 * 1024 * 1024  # bytes; of larger files only the length is compared, unless they are under suspicion
# What a model is loaded from; of the rest (pictures, descriptions) nothing is missed where no listing was kept.
_LOADED = (".json", ".safetensors", ".jinja", ".txt", ".model", ".tiktoken", ".py")


@dataclass(frozen=True, slots=True)
class File:
    """A file as the hub has it: its path in the repository, bytes, and hash (see transfer.digest_of)."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a checkpoint in `directory` came from. `blobs` holds the contents in the hub's cache; None elsewhere."""

    model: str
    commit: str
    directory: str
    blobs: str | None

    def path(self, name: str) -> str:
        """A file of it."""
        return os.path.join(self.directory, name)


@dataclass(frozen=True, slots=True)
class Again:
    """Files to be fetched again, and where from."""

    origin: Origin
    files: tuple[File, ...]

    @property
    def source(self) -> str:
        """The hub's address of the repository."""
        return f"{download.endpoint()}/{self.origin.model}"

    def in_the_way(self) -> list[str]:
        """What is to be moved aside first."""
        return [path for each in self.files for path in _in_the_way(self.origin, each)]


def origin(directory: str) -> Origin | None:
    """Where a checkpoint came from, by the layout of the hub's cache; None for any other directory."""
    found = _SNAPSHOT.match(os.path.abspath(directory))
    if found is None:
        return None
    model = "/".join(found["id"].split("--"))
    return Origin(model, found["commit"], os.path.abspath(directory), os.path.join(found["repo"], "blobs"))


def kept_listing(place: Origin) -> tuple[File, ...] | None:
    """The files of the revision by the listing that the hub's library kept; None without one."""
    repo = os.path.dirname(os.path.dirname(place.directory))
    try:
        with open(os.path.join(repo, "trees", f"{place.commit}.json"), encoding="utf-8") as stream:
            rows = json.load(stream)["files"]
        return _safe(
            File(name, int(row.get("lfs_size") or row["size"]), str(row.get("lfs_sha256") or row["blob_id"]))
            for name, row in rows.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def damaged(place: Origin, suspects: Iterable[str] = ()) -> Again | None:
    """What of a checkpoint is not as the hub has it; None when all is. `suspects` are names that a check complains of.

    Reads files, and asks the hub for its listing where none was kept. Raises StackError.
    """
    kept = kept_listing(place)
    files = _ask(place) if kept is None else kept
    named = set(suspects)
    needed = set(wanted([each.name for each in files]))
    bad = [
        each
        for each in files
        if each.name in needed
        and (os.path.lexists(place.path(each.name)) or kept is not None or _is_loaded(each.name))
        and not _is_right(place.path(each.name), each, look=each.name in named)
    ]
    return Again(place, tuple(bad)) if bad else None


def fetch(again: Again, on_progress: Callable[[transfer.Progress], None]) -> list[str]:
    """Fetch the files, each checked against the hub's hash; return the paths that were not there before.

    What was made is removed where it fails. Raises StackError.
    """
    place = again.origin
    total = sum(each.size for each in again.files)
    made: list[str] = []
    meter = transfer.Meter(total)

    def work() -> str:
        library = download.library()
        headers = library.build_hf_headers()
        for each in again.files:
            _one(place, each, library, headers, meter, made)
        return place.directory

    try:
        download.check_room(place.model, total, place.directory)
        with _alone(place, on_progress):
            transfer.run(work, meter, on_progress)
    except BaseException as error:
        for path in reversed(made):
            os.unlink(path)
        if isinstance(error, Exception):
            raise failures.explain(error, place.model, place.commit, download.endpoint()) from error
        raise
    return made


def _alone(place: Origin, on_progress: Callable[[transfer.Progress], None]) -> contextlib.AbstractContextManager[None]:
    """No other stackctl fetches the same meanwhile."""
    if place.blobs is None:
        return contextlib.nullcontext()
    return locked(f"{place.blobs}.stackctl.lock", lambda text: on_progress(transfer.Progress(0, 1, 0, text)))


def _one(
    place: Origin, file: File, library: Any, headers: dict[str, str], meter: transfer.Meter, made: list[str]
) -> None:
    from huggingface_hub import hf_hub_url

    target = os.path.join(place.blobs, file.digest) if place.blobs else place.path(file.name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.lexists(target):  # whole: what is not was moved aside
        meter.had(file.size)
    else:
        url = hf_hub_url(place.model, file.name, revision=place.commit, endpoint=download.endpoint())
        transfer.download(library, url, headers, target, size=file.size, digest=file.digest, meter=meter)
        made.append(target)
    link = place.path(file.name)
    if place.blobs and not os.path.lexists(link):
        os.makedirs(os.path.dirname(link), exist_ok=True)
        os.symlink(os.path.relpath(target, os.path.dirname(link)), link)
        made.append(link)


def _ask(place: Origin) -> tuple[File, ...]:
    from huggingface_hub import HfApi

    try:
        info = HfApi(endpoint=download.endpoint()).model_info(
            place.model, revision=place.commit, files_metadata=True, timeout=download.LOOKUP
        )
    except Exception as error:
        raise failures.explain(error, place.model, place.commit, download.endpoint()) from error
    return _safe(
        File(each.rfilename, each.size or 0, each.lfs.sha256 if each.lfs is not None else each.blob_id or "")
        for each in info.siblings or []
    )


def _safe(files: Iterable[File]) -> tuple[File, ...]:
    """Those that stay in the directory: nothing is written elsewhere on the word of a listing."""
    return tuple(
        each
        for each in files
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", each.digest)
        and not os.path.isabs(each.name)
        and ".." not in each.name.split("/")
    )


def _is_loaded(name: str) -> bool:
    """Whether a file that is not there is missed: Mistral's weights for its own programs come beside the others."""
    return "/" not in name and name.endswith(_LOADED) and not name.startswith((".", "consolidated"))


def _is_right(path: str, file: File, *, look: bool) -> bool:
    """Whether a file is as the hub has it: by its length, and by its hash where it is small or under suspicion."""
    try:
        if not os.path.isfile(path) or os.stat(path).st_size != file.size:
            return False
        return not (look or file.size <= _READ) or transfer.digest_of(path, file.digest) == file.digest
    except OSError:
        return False


def _in_the_way(place: Origin, file: File) -> list[str]:
    path = place.path(file.name)
    found = [path] if os.path.lexists(path) else []
    if place.blobs is None:
        return found
    blob = os.path.join(place.blobs, file.digest)
    if (
        found
        and os.path.islink(path)
        and os.path.abspath(os.path.join(os.path.dirname(path), os.readlink(path))) == blob
    ):
        found = []  # it points where the content will be
    if os.path.lexists(blob) and not _is_right(blob, file, look=True):
        found.append(blob)
    return found
