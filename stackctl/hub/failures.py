"""What the hub's errors mean for the user."""

from __future__ import annotations

import errno

from stackctl.errors import PreflightError, StackError


def explain(error: Exception, model_id: str, revision: str | None, endpoint: str) -> StackError:
    """The StackError for an error of the hub's library while it fetched `model_id` from `endpoint`."""
    from huggingface_hub import errors as hub

    if isinstance(error, StackError):
        return error
    if isinstance(error, hub.GatedRepoError):
        return PreflightError(
            f"the model {model_id} is gated: its licence has to be accepted first",
            remedy=f"accept it at {endpoint}/{model_id}, then set HF_TOKEN to a token of that account",
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return PreflightError(
            f"the model {model_id} has no revision {revision!r}", remedy="correct `revision:`, or leave it out"
        )
    if isinstance(error, hub.EntryNotFoundError):
        return PreflightError(
            f"{endpoint} has a file of {model_id} no more that its revision {revision} had",
            remedy="fetch the model's newest revision: leave `revision:` out",
        )
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status == 401 and "invalid" in str(error).lower() and "token" in str(error).lower():
        return PreflightError(
            "the hub refuses the token in HF_TOKEN", remedy=f"make a new one at {endpoint}/settings/tokens"
        )
    if isinstance(error, hub.RepositoryNotFoundError | hub.HFValidationError) or status in {401, 404}:
        return PreflightError(
            f"there is no model {model_id} at {endpoint} (or it is private)",
            remedy="check the spelling (OWNER/NAME); for a private model set HF_TOKEN",
        )
    if status == 403:
        return PreflightError(f"{endpoint} refuses access to {model_id}", remedy="check HF_TOKEN and its rights")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return StackError(
            f"the disk became full while {model_id} was downloaded",
            remedy="free some space and start again: what is there is kept; HF_HOME names another disk",
        )
    if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
        return StackError(
            f"cannot write to the hub's cache: {error.filename}", remedy="set HF_HOME to a directory of your own"
        )
    if status:
        return StackError(f"{endpoint} answered {status} for {model_id}", remedy="try again later")
    if _is_network(error):
        return StackError(
            f"{endpoint} cannot be reached, and {model_id} is not (wholly) on this machine",
            remedy="check the network, the proxy (HTTPS_PROXY) or the mirror (HF_ENDPOINT), then start again:"
            " what was downloaded is kept",
            evidence=(f"{type(error).__name__}: {error}"[:300],),
        )
    return StackError(
        f"cannot download {model_id}: {type(error).__name__}",
        remedy="start again: what was downloaded is kept",
        evidence=(str(error)[:300],),
    )


def _is_network(error: BaseException | None) -> bool:
    while error is not None:
        names = {each.__name__ for each in type(error).__mro__}
        if names & {"TransportError", "OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectionError"}:
            return True
        error = error.__cause__
    return False
