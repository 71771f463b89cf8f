"""What doctor's checks may look at. Types only; facts.py fills it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stackctl import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.checks.endpoints import Lane
    from stackctl.config import Flags, Loaded
    from stackctl.errors import StackError
    from stackctl.host import Host
    from stackctl.model import ClientFacts
    from stackctl.paths import StackPaths
    from stackctl.planning import Prepared
    from stackctl.runstate import Failed, StackState


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found; None where there is no such thing, with an error beside it where there should be.

    `environ`, `home` and `cwd` are the user's. `state` is what the state file records, `running` whether a supervisor
    lives, `failed` why the last start did, where it did. `logs` are the ends of the services' logs, of the run that is recorded. `secrets` are all keys that are known.
    `began` is in seconds (monotonic).
    """

    environ: Mapping[str, str] = field(repr=False)
    home: str
    cwd: str
    flags: Flags
    static: bool
    paths: StackPaths | None = None
    paths_error: StackError | None = None
    loaded: Loaded | None = None
    load_error: StackError | None = None
    prepared: Prepared | None = None
    prepare_error: StackError | None = None
    host: Host | None = None
    state: StackState | None = None
    state_error: StackError | None = None
    running: bool = False
    failed: Failed | None = None
    client_key: str | None = field(default=None, repr=False)
    client_key_error: StackError | None = None
    lanes: tuple[Lane, ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict, repr=False)
    url_target: str | None = None
    hand_config: Mapping[str, Any] | None = field(default=None, repr=False)
    hand_file: str | None = None
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    began: float = 0.0

    @property
    def own(self) -> bool:
        """Whether this is about a stack of stackctl's, and not about something made by hand."""
        return self.url_target is None and self.hand_file is None

    @property
    def client(self) -> ClientFacts | None:
        """What the stack that runs tells clients; None where none runs, or it is not ready yet."""
        return self.state.client if self.running and self.state is not None else None

    def clean(self, line: str) -> str:
        """A line of a log or an answer without secrets and control characters."""
        return redact.cleaner(self.secrets)(line)
