"""What a repair does with the stack itself: stackctl's own commands, in this process; and going back to what ran before.

In this process, since what a child of ours starts in the background ends with it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from stackctl import output, planning, runstate
from stackctl.checks import commands
from stackctl.errors import InterruptedByUser, NotRunningError, StackError
from stackctl.repair.running import install

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackctl.checks.facts import Facts
    from stackctl.repair import Change

_WHOLE = frozenset({"up", "down", "restart"})  # of the stack, where no service is named


class Stack:
    """The stack as it was looked at. It is started as it was started before, also where the user names nothing now."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._stirred = False

    def run(self, words: Sequence[str]) -> None:
        """Do one of a change's commands. A whole restart also works where the stack is only half there.

        Raises StackError where it fails; a mistake in the configuration then leaves alone what runs.
        """
        from stackctl.commands import down, restart, trust, up

        flags = self._facts.flags
        if words[0] == "install":
            install(self._facts, words[1], output.note)
        elif words[0] == "trust":
            trust.run(flags.config)
        elif words[0] == "restart" and len(words) > 1:
            restart.one(words[1], flags.name, flags.config)
        elif words[0] in _WHOLE:
            if words[0] == "restart":
                planning.prepare(flags)
            self._stirred = True
            if words[0] in {"down", "restart"}:
                with contextlib.suppress(NotRunningError):
                    down.run(flags.name, flags.config)
            if words[0] in {"up", "restart"}:
                up.start_detached(flags, yes=True)

    def back(self, change: Change) -> None:
        """After the files are as they were: what ran runs on them again, and what did not is stopped.

        Without files of the change there is nothing that a start would now do otherwise. What cannot be is said.
        """
        if not self._stirred or not change.edits:
            return
        try:
            if self._facts.running:
                output.note("    the stack is started again as it was")
                self.run(("restart",))
            elif self._runs():
                self.run(("down",))
        except InterruptedByUser:
            raise
        except (StackError, OSError) as error:
            said = error.message if isinstance(error, StackError) else str(error)
            output.warn(f"the stack could not be brought back to what it was: {said}")

    def interrupted(self) -> None:
        """Say what an interruption leaves: a start takes minutes, and who presses Ctrl-C will not wait for one."""
        if self._stirred:
            now, verb = ("runs on what is undone", "restart") if self._runs() else ("is not running", "up")
            line = commands.of_flags(f"stackctl {verb}", self._facts.flags, self._facts.environ)
            output.warn(f"the stack {now}:  {line}  starts it on its configuration")

    def _runs(self) -> bool:
        return self._facts.paths is not None and runstate.running(self._facts.paths) is not None
