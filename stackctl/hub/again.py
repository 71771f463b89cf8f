"""Files of a checkpoint that are damaged or missing, fetched again: just these, of the revision that is here."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stackctl.errors import StackError
from stackctl.hub import download, failures, transfer
from stackctl.hub.cache import wanted
from stackctl.toolchain.atomic import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stackctl.hub.origin import Origin

_UNKNOWN = {401, 404}  # the hub's word for what is not there, or not for us
# What a model is loaded from; of the rest (pictures, descriptions) nothing is missed where no listing was kept.
_LOADED = (".json", ".safetensors", ".jinja", ".txt", ".model", ".tiktoken", ".py")


@dataclass(frozen=True, slots=True)
class File:
    """A file as the hub has it: its path in the repository, bytes, and hash (see transfer.digest_of)."""

    name: str
    size: int
    digest: str


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


def kept_listing(place: Origin) -> tuple[File, ...] | None:
    """The files of the revision by the listing that the hub's library kept; None without one."""
    if place.listing is None:
        return None
    try:
        with open(place.listing, encoding="utf-8") as stream:
            rows = json.load(stream)["files"]
        return _safe(
            File(name, int(row.get("lfs_size") or row["size"]), str(row.get("lfs_sha256") or row["blob_id"]))
            for name, row in rows.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def damaged(place: Origin, said: str) -> Again | None:
    """What of a checkpoint is missing, cut short, or complained of and not as the hub has it; None when nothing is.

    `said` is the complaint: the paths of files, or lines that begin with their names. What is well is left as it is, also
    where its owner has changed it. Asks the hub for its listing where none was kept. Raises StackError.
    """
    kept = kept_listing(place)
    place, files = _ask(place) if kept is None else (place, kept)
    needed = set(wanted([each.name for each in files]))
    bad = [
        each
        for each in files
        if each.name in needed
        and (os.path.lexists(place.path(each.name)) or kept is not None or _is_loaded(each.name))
        and _is_bad(place, each, said)
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


def _ask(place: Origin) -> tuple[Origin, tuple[File, ...]]:
    """The hub's listing, and whose it is: a commit is of one repository (and of its copies)."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=download.endpoint())
    for model in place.models:
        try:
            info = api.model_info(model, revision=place.commit, files_metadata=True, timeout=download.LOOKUP)
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", 0) in _UNKNOWN and len(place.models) > 1:
                continue
            raise failures.explain(error, model, place.commit, download.endpoint()) from error
        files = _safe(
            File(each.rfilename, each.size or 0, each.lfs.sha256 if each.lfs is not None else each.blob_id or "")
            for each in info.siblings or []
        )
        return replace(place, models=(model,)), files
    raise StackError(
        f"{download.endpoint()} has nothing at revision {place.commit} that {place.directory} could be a copy of"
        f" (asked for {', '.join(place.models)})"
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


def _is_bad(place: Origin, file: File, said: str) -> bool:
    path = place.path(file.name)
    if not os.path.isfile(path):
        return True
    suspect = path in said or any(line.startswith(f"{file.name}: ") for line in said.splitlines())
    if not suspect:
        return file.name.endswith(".safetensors") and os.path.getsize(path) != file.size
    return not _is_right(path, file)


def _is_right(path: str, file: File) -> bool:
    """Whether a file is as the hub has it."""
    try:
        return os.stat(path).st_size == file.size and transfer.digest_of(path, file.digest) == file.digest
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
    if os.path.lexists(blob) and not _is_right(blob, file):
        found.append(blob)
    return found
