"""The Python code that comes with a model: which revision of it is here, and whether the user agreed to run that one."""

from __future__ import annotations

import os

from stackctl import checkpoint, fetch, sizes, trust


def named(model: str) -> str:
    """What a model is remembered by: its hub id, or the full path of its directory."""
    return os.path.abspath(os.path.expanduser(model)) if fetch.is_local(model) else model


def revision(model: str, directory: str) -> str:
    """The revision of the model in `directory`: the commit of a hub snapshot, else a hash of its code."""
    return checkpoint.code_digest(directory) if fetch.is_local(model) else os.path.basename(directory)


def agreed(model: str, asked: str | None) -> str:
    """The revision of a model that is here, if the user agreed to run its code; else empty.

    `asked` is the revision in the configuration: a branch, a tag or a commit.
    """
    known = trust.code_revisions(named(model))
    directory = sizes.directory(model, asked) if known else None
    if directory is None:
        return ""
    found = revision(model, directory)
    return found if found in known else ""
