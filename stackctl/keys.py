"""The three keys of a stack. Only the client key is ever written down or shown.

The client key survives `down`, so that shells which evaluated `stackctl env` go on working. The engine key and
LiteLLM's master key are made for each run and live in the children's environment only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stackctl import files, keys_file
from stackctl.errors import StackError

if TYPE_CHECKING:
    from stackctl.paths import StackPaths

PREFIX = "sk-stackctl-"
_BYTES = 32  # 256 bits


@dataclass(frozen=True, slots=True)
class Keys:
    """`client` is what agents send, without admin rights; `engine` is None for an engine that asks for none."""

    client: str = field(repr=False)
    engine: str | None = field(repr=False)
    master: str = field(repr=False)


def make(paths: StackPaths, *, asks: bool, remote: str | None) -> Keys:
    """The keys of one run; the client key is made when there is none.

    `asks` says that the engine is ours and gets a new key; else `remote` is the key of one that runs elsewhere.
    """
    import secrets

    client = keys_file.read(paths)
    if client is None:
        files.private_dir(paths.root)
        files.create_private(paths.client_key, f"{PREFIX}{secrets.token_hex(_BYTES)}\n")
        client = keys_file.read(paths)  # another `up` may have been quicker
        if client is None:
            raise StackError(f"the key file {paths.client_key} disappears", remedy="stackctl up")
    return Keys(client, secrets.token_hex(_BYTES) if asks else remote, PREFIX + secrets.token_hex(_BYTES))


def rotate(paths: StackPaths) -> None:
    """Write a new client key; whoever holds the old one is refused from the gateway's next start on."""
    import secrets

    files.check_private_dir(paths.root)
    files.write_private(paths.client_key, f"{PREFIX}{secrets.token_hex(_BYTES)}\n")
