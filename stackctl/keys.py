"""The keys of a stack. Only the client key is ever written down or shown.

The client key survives `down`, so that shells which evaluated `stackctl env` go on working. The engines' keys and
LiteLLM's master key are made for each run and live in the children's environment only. Providers' keys are the user's,
and only the gateway gets them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stackctl import files, keys_file
from stackctl.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stackctl.paths import StackPaths

PREFIX = "sk-stackctl-"
_BYTES = 32  # 256 bits


@dataclass(frozen=True, slots=True)
class Keys:
    """`client` is what agents send, without admin rights. `engines` by name: None for one that asks for no key.

    `hosted` are providers' keys by the variable that the gateway finds them under.
    """

    client: str = field(repr=False)
    engines: Mapping[str, str | None] = field(repr=False)
    master: str = field(repr=False)
    hosted: Mapping[str, str] = field(repr=False, default_factory=dict)


def make(
    paths: StackPaths, *, managed: Iterable[str], remote: Mapping[str, str | None], hosted: Mapping[str, str]
) -> Keys:
    """The keys of one run; the client key is made when there is none.

    `managed` are the engines that are ours, which get new ones; `remote` has the keys of those that run elsewhere.
    """
    import secrets

    client = keys_file.read(paths)
    if client is None:
        files.private_dir(paths.root)
        files.create_private(paths.client_key, f"{PREFIX}{secrets.token_hex(_BYTES)}\n")
        client = keys_file.read(paths)  # another `up` may have been quicker
        if client is None:
            raise StackError(f"the key file {paths.client_key} disappears", remedy="stackctl up")
    engines = {**remote, **{name: secrets.token_hex(_BYTES) for name in managed}}
    return Keys(client, engines, PREFIX + secrets.token_hex(_BYTES), hosted)


def rotate(paths: StackPaths) -> None:
    """Write a new client key; whoever holds the old one is refused from the gateway's next start on."""
    import secrets

    files.check_private_dir(paths.root)
    files.write_private(paths.client_key, f"{PREFIX}{secrets.token_hex(_BYTES)}\n")
