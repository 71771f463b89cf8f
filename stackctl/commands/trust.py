"""`stackctl trust`: let the stack.yaml of a working directory be used, as it is now."""

from __future__ import annotations

import os

from stackctl import paths
from stackctl import trust as trusting
from stackctl.errors import ConfigError
from stackctl.output import Outcome


def run(path: str | None) -> Outcome:
    """Trust the content of `path` (./stack.yaml). Raises ConfigError when there is no such file."""
    target = os.path.abspath(path or paths.LOCAL_FILE)
    if not os.path.isfile(target):
        raise ConfigError(
            f"there is no file {target}", remedy="go to the directory of the stack.yaml, or name the file"
        )
    digest = trusting.add(target)
    return Outcome(
        lines=[f"stackctl: {target} is trusted as it is now (sha256 {digest[:12]}); after a change it asks again"],
        data={"file": target, "sha256": digest},
    )
