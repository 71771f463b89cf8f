"""What a server has shown of itself by its answers so far, so that one answer can be judged by the others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stackctl.checks.live import pages
from stackctl.checks.live.reply import End

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stackctl.checks.live.reply import Reply

AGAIN = 2  # times that a question is put once more
_OWN_CHECK = {404, 413}  # a path that is not let through, and a size: they are found by what is asked
_SERVER_FAILS = 500  # and above
_AT_ONCE = 2.0  # seconds
_LEAST = 4.0  # seconds of silence that say anything, of a server that answers plain questions quickly
_TIMES = 2.0  # how many times as long as a plain question took
_SLACK = 0.1  # seconds by which a timeout may come early
NO_MODEL = re.compile(r"model .{0,200}(?:does not exist|not found|not supported)|Invalid model name", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """A proxy's own answer: the proxy's name, its status, and the page's title or the line of text."""

    proxy: str
    status: int
    title: str


@dataclass(frozen=True, slots=True)
class Hiccup:
    """A failure that was gone when the same question was put again: the server's words, and the line of evidence."""

    said: str
    shown: str


@dataclass(slots=True)
class Seen:
    """What has been taken down of one server.

    `answered` says that it gave a good answer; `page` is the last one of a proxy in its place, `no_model` the words with
    which it denied its own model, `hiccup` the last failure that was gone at once, `took` the seconds to its first word.
    """

    answered: bool = False
    page: Page | None = None
    no_model: str = ""
    hiccup: Hiccup | None = None
    took: float | None = None

    def note(self, status: int, raw: str, headers: Mapping[str, str] | None = None) -> None:
        """Take down a proxy's page, where this is one. `headers` have lower-case names."""
        proxy = pages.proxy(status, raw, headers or {})
        if proxy and status not in _OWN_CHECK:
            self.page = Page(proxy, status, pages.title(raw) if pages.is_page(raw) else raw[:100])

    def note_reply(self, reply: Reply, *, own_model: bool) -> None:
        """Take down a reply; `own_model` says that the question named the model which the server is known to have."""
        if reply.whole:
            self.answered = True
            self.took = self.took if self.took is not None else reply.first_at
        else:
            self.note(reply.status, reply.raw, reply.headers)
        if own_model and reply.refused and NO_MODEL.search(reply.raw) and reply.said:
            self.no_model = reply.said

    def told(self, reply: Reply, most: float) -> bool:
        """Whether a reply says anything: no silence does for which a slow server was not waited for (at `most` seconds)."""
        least = max(_TIMES * (self.took or 0.0), min(_LEAST, most)) - _SLACK
        return reply.end is not End.TIMEOUT or reply.first_at is not None or reply.elapsed >= least

    def steadied(self, first: Reply, once: Callable[[], Reply]) -> Reply:
        """The reply to go on with: `first`, or that of `once` where a server which has answered others failed at once."""
        own = first.status >= _SERVER_FAILS and not pages.proxy(first.status, first.raw, first.headers)
        if not own or not self.answered or first.elapsed >= _AT_ONCE:
            return first
        for _ in range(AGAIN):
            again = once()
            if again.whole or 0 < again.status < _SERVER_FAILS:
                self.hiccup = Hiccup(first.said or f"status {first.status}", first.shown())
                return again
            if again.elapsed > _AT_ONCE:
                break
        return first
