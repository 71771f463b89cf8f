"""What a user can be told: every failure says what, where, and the next command.

Kept free of imports: `stackctl env` loads it.
"""

FAILED = 1
USAGE = 2
PREFLIGHT = 3
NOT_RUNNING = 4
INTERRUPTED = 130
TERMINATED = 143


class StackError(Exception):
    """A failure for people.

    `message` is one sentence (what and where), `remedy` the next thing to type or do, `evidence` the lines
    that prove it (a log's tail, for example). Only the edge of the CLI catches it.
    """

    exit_code = FAILED

    def __init__(self, message: str, *, remedy: str = "", evidence: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.evidence = evidence


class ConfigError(StackError):
    """The command line or the configuration cannot be used."""

    exit_code = USAGE


class PreflightError(StackError):
    """Something on this machine stands in the way; found before anything was started."""

    exit_code = PREFLIGHT


class NotRunningError(StackError):
    """The stack that was asked about does not run."""

    exit_code = NOT_RUNNING


class InterruptedByUser(StackError):  # noqa: N818 - it is a wish, not an error
    """Ctrl-C, or SIGTERM and the like; `exit_code` is 130 or 143."""

    def __init__(self, signum: int) -> None:
        super().__init__("stopped by the terminal" if signum == 2 else f"stopped by signal {signum}")
        self.exit_code = INTERRUPTED if signum == 2 else TERMINATED
