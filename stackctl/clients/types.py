"""What a client is to us. Light: `stackctl env` loads it."""

from __future__ import annotations

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Facts = Mapping[str, object]  # the ClientFacts of a stack as a mapping
    Environment = Callable[[Facts, str | None, Mapping[str, str], str], dict[str, str]]
    Version = tuple[int, ...]


class Conflict:
    """One thing in the way: where it stands, what it is, and who wins.

    `beats_env` when it wins over what `env` sets, `beats_launch` over what `launch` does. `aside` is what is worth knowing
    when a client is started, but nothing for a shell's start-up.
    """

    __slots__ = ("aside", "beats_env", "beats_launch", "what", "where")

    def __init__(
        self, where: str, what: str, *, beats_env: bool = False, beats_launch: bool = False, aside: bool = False
    ) -> None:
        self.where = where
        self.what = what
        self.beats_env = beats_env
        self.beats_launch = beats_launch
        self.aside = aside


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
    with what those before them cannot do. `environment` gives the variables from the stack's facts, its key, the user's
    environment and the directory for private files. `removed` are variables of the user's that would defeat it. `start` adds
    what only a command line can say; `files` are what the environment alone refers to.

    What only some clients have: `version` reads, without starting it, which version is on PATH; `adapt` fits the facts to a
    version; `conflicts` are what stands in the way, from the variables, the user's environment and the working directory;
    `by_hand` is what someone must know who uses `env` without `launch`; `settings` is a settings file to the same effect.
    """

    __slots__ = (
        "adapt", "by_hand", "conflicts", "environment", "files", "install", "key_variable", "limits", "name", "oldest",
        "program", "removed", "settings", "start", "title", "version",
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
        limits: tuple[tuple[Version, str], ...] = (),
        version: Callable[[Mapping[str, str]], Version | None] | None = None,
        adapt: Callable[[Facts, Version | None], Facts] | None = None,
        conflicts: Callable[[Mapping[str, str], Mapping[str, str], str], list[Conflict]] | None = None,
        by_hand: Callable[[Facts], list[str]] | None = None,
        settings: Callable[[Mapping[str, str]], dict[str, object]] | None = None,
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
        self.version = version
        self.adapt = adapt
        self.conflicts = conflicts
        self.by_hand = by_hand
        self.settings = settings
