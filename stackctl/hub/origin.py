"""Where the files of a checkpoint on this machine came from: the hub's cache says it by its layout, a download into a
directory and a git checkout by the records that they leave.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from stackctl import checkpoint
from stackctl.catalog import models

_COMMIT = r"[0-9a-f]{40}"
_SNAPSHOT = re.compile(rf"^(?P<repo>.+/models--(?P<id>[^/]+))/snapshots/(?P<commit>{_COMMIT})$")
_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_URL = re.compile(r"^\s*url\s*=\s*(\S+)\s*$", re.MULTILINE)
_LARGEST = 1 << 16  # bytes of a record


@dataclass(frozen=True, slots=True)
class Origin:
    """A checkpoint in `directory` and the commit that it is of.

    `models` are the repositories that it may come from: one that is known, or some that the hub is asked about. `blobs`
    holds the contents in the hub's cache, `listing` the file that names them; None elsewhere.
    """

    models: tuple[str, ...]
    commit: str
    directory: str
    blobs: str | None = None
    listing: str | None = None

    @property
    def model(self) -> str:
        """The repository, or the first that it may be."""
        return self.models[0]

    def path(self, name: str) -> str:
        """A file of it."""
        return os.path.join(self.directory, name)


def of(directory: str, endpoint: str) -> Origin | None:
    """Where a checkpoint came from; None where nothing says it. `endpoint` is the hub's address."""
    place = os.path.abspath(directory)
    return _of_cache(place) or _of_download(place) or _of_git(place, endpoint)


def _of_cache(place: str) -> Origin | None:
    found = _SNAPSHOT.match(place)
    if found is None:
        return None
    repo, commit = found["repo"], found["commit"]
    model = "/".join(found["id"].split("--"))
    return Origin((model,), commit, place, os.path.join(repo, "blobs"), os.path.join(repo, "trees", f"{commit}.json"))


def _of_download(place: str) -> Origin | None:
    """What `hf download --local-dir` wrote: the commit of each file. Whose it is, it does not write."""
    records = os.path.join(place, ".cache", "huggingface", "download")
    try:
        names = [name for name in os.listdir(records) if name.endswith(".metadata")]
    except OSError:
        return None
    commits = {_text(os.path.join(records, name)).partition("\n")[0].strip() for name in names}
    commit = commits.pop() if len(commits) == 1 else ""
    candidates = _candidates(place)
    return Origin(candidates, commit, place) if candidates and re.fullmatch(_COMMIT, commit) else None


def _candidates(place: str) -> tuple[str, ...]:
    """What a directory may be a copy of: by its configuration, by the catalogue, by how it is called."""
    name = os.path.basename(place)
    parent = os.path.basename(os.path.dirname(place))
    found = [*checkpoint.declared_names(place)]
    found += [each for each in models.names() if each.rpartition("/")[2].lower() == name.lower()]
    found += [f"{parent}/{name}", *(name.replace(mark, "/", 1) for mark in ("--", "__", "_"))]
    return tuple(dict.fromkeys(each for each in found if _ID.fullmatch(each) and "--" not in each and ".." not in each))


def _of_git(place: str, endpoint: str) -> Origin | None:
    """A checkout of the hub's repository, made with git and perhaps without Git LFS."""
    git = os.path.join(place, ".git")
    host = urlsplit(endpoint).netloc
    for url in _URL.findall(_text(os.path.join(git, "config"))):
        parts = urlsplit(url)
        model = parts.path.strip("/").removesuffix(".git")
        commit = _head(git)
        if parts.netloc.rpartition("@")[2] == host and _ID.fullmatch(model) and re.fullmatch(_COMMIT, commit):
            return Origin((model,), commit, place)
    return None


def _head(git: str) -> str:
    said = _text(os.path.join(git, "HEAD")).strip()
    if not said.startswith("ref: "):
        return said
    name = said.removeprefix("ref: ")
    if ".." in name.split("/"):
        return ""
    packed = re.search(rf"^({_COMMIT}) {re.escape(name)}$", _text(os.path.join(git, "packed-refs")), re.MULTILINE)
    return _text(os.path.join(git, *name.split("/"))).strip() or (packed[1] if packed else "")


def _text(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return stream.read(_LARGEST).decode("utf-8", errors="replace")
    except OSError:
        return ""
