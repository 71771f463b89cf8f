"""How a stack ends: gateways are told first, engines after a head start, whoever is left is killed, and at last given up."""

from __future__ import annotations

_HEAD_START = 2.0  # seconds that gateways get to end before engines are told: requests then end at the front door
_STUCK = 15.0  # seconds after which a tree that will not die is given up: its guard goes on trying


class Ending:
    """The deadlines of an end that has `begun`; all times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.begun = False
        self.immediate = False  # without grace
        self.signum: int | None = None  # the first signal that asked for it
        self._engines_at = self._kill_at = self._give_up_at = float("inf")

    def begin(self, now: float, grace: float, signum: int | None, *, immediate: bool) -> bool:
        """Begin, or make an end that is under way immediate; say whether this call changed anything.

        `grace` is the longest that a service takes to end by itself.
        """
        if self.begun and (self.immediate or not immediate):
            return False
        self.begun = True
        self.immediate = immediate
        self.signum = self.signum or signum
        self._engines_at = now + min(_HEAD_START, 0.2 * grace)
        self._kill_at = now if immediate else now + _HEAD_START + grace + 3.0
        self._give_up_at = self._kill_at + _STUCK
        return True

    def engines_due(self, now: float) -> bool:
        """Whether engines are told to end, gateways or no gateways."""
        return now >= self._engines_at

    def kill_due(self, now: float) -> bool:
        """Whether what is left must be killed now: true once."""
        due = now >= self._kill_at
        if due:
            self._kill_at = float("inf")
        return due

    def given_up(self, now: float) -> bool:
        """Whether what will not die is left to its guard."""
        return now >= self._give_up_at
