"""Services: started below a guard, and left running."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stackctl import identity
from stackctl.errors import StackError
from stackctl.process.guarded import Guard
from stackctl.process.logs import open_log

if TYPE_CHECKING:
    from stackctl.model import ProcessSpec


@dataclass(slots=True)
class Child:
    """A service and its guard, as they were started. All ids are of the service's leader but `guard`.

    `log_from` is the log's size at the start, in bytes: what is behind it belongs to this start.
    """

    spec: ProcessSpec
    guard: identity.Identity
    leader: identity.Identity
    pgid: int
    sid: int
    log_from: int
    _guard: Guard = field(repr=False)

    @property
    def status(self) -> int:
        """A descriptor that is readable when the guard has said something; -1 when it is gone."""
        return self._guard.status

    def messages(self) -> list[dict[str, Any]]:
        """Return what the guard has said since last asked; `{"event": "lost"}` when it is gone."""
        return self._guard.messages()

    def terminate(self) -> None:
        """Ask the guard to end the service gently: TERM, the grace, KILL."""
        self._guard.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Have the guard kill the whole tree now."""
        self._guard.signal(signal.SIGINT)

    def close(self, timeout: float = 5.0) -> bool:
        """Let go: the guard then kills what still lives. False when it has not ended within `timeout` seconds."""
        return self._guard.close(timeout)


def spawn(spec: ProcessSpec, *, run_id: str = "") -> Child:
    """Start `spec` below a guard of its own and return once its leader runs; nothing has been waited for yet.

    `run_id` is put into its environment, and every log line goes to `spec.log`. Raises StackError when the program
    cannot be started.
    """
    try:
        log = open_log(spec.log)
    except OSError as error:
        raise StackError(f"cannot write the log {spec.log}: {error.strerror}", remedy=f"rm {spec.log}") from error
    log_from = os.fstat(log).st_size
    env = {**spec.env, **({identity.RUN_MARK: run_id} if run_id else {})}
    try:
        guard = Guard(spec.argv, env, spec.cwd, log, grace=spec.grace)
    finally:
        os.close(log)
    try:
        said = guard.first_word(f"{spec.name}: {spec.argv[0]}")
    except BaseException:
        guard.close()
        raise
    boot = identity.boot_id()
    return Child(
        spec,
        identity.Identity(guard.pid, identity.start_ticks(guard.pid) or 0, boot),
        identity.Identity(said["pid"], said["start_ticks"], boot),
        said["pgid"],
        said["sid"],
        log_from,
        guard,
    )
