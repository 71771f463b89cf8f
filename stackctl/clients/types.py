"""What a client is to us. Light: `stackctl env` loads it."""

from __future__ import annotations

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Facts = Mapping[str, object]  # the ClientFacts of a stack as a mapping
    Environment = Callable[[Facts, str | None, Mapping[str, str], str], dict[str, str]]


class Start:
    """How a client is started for one stack: what stands before the user's own arguments, and what must be said.

    `files` (path to content) are written with mode 0600 before the start; they may hold the key.
    """

    __slots__ = ("argv", "files", "notes")

    def __init__(
        self, argv: Sequence[str] = (), files: Mapping[str, str] | None = None, notes: Sequence[str] = ()
    ) -> None:
        self.argv = tuple(argv)
        self.files = dict(files or {})
        self.notes = tuple(notes)


class Client:
    """One client. A new one is one small file with one of these, and a row in `clients.NAMES`.

    `install` is the official command that installs it; `oldest` the first version that works here; `limits` are versions
    with what those before them cannot do. `environment` gives the variables from the stack's facts, its key, the user's environment and
    the directory for private files. `removed` are variables of the user's that would defeat it. `start` adds what only a
    command line can say; `files` are what the environment alone refers to.
    """

    __slots__ = (
        "environment", "files", "install", "key_variable", "limits", "name", "oldest", "program", "removed", "start", "title",
    )  # fmt: skip

    def __init__(
        self,
        *,
        name: str,
        title: str,
        program: str,
        install: str,
        oldest: tuple[int, ...],
        key_variable: str,
        environment: Environment,
        start: Callable[[Facts, Mapping[str, str], Sequence[str], str], Start],
        files: Callable[[Facts, Mapping[str, str], str], dict[str, str]] | None = None,
        removed: tuple[str, ...] = (),
        limits: tuple[tuple[tuple[int, ...], str], ...] = (),
    ) -> None:
        self.name = name
        self.title = title
        self.program = program
        self.install = install
        self.oldest = oldest
        self.key_variable = key_variable
        self.environment = environment
        self.start = start
        self.files = files
        self.removed = removed
        self.limits = limits
