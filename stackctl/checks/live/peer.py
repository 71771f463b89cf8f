"""One end of the line that can be asked: an engine, or the gateway in front of it; and how one question is put to it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stackctl import probe
from stackctl.checks.live import body, chat, events, messages
from stackctl.checks.live.quiet import Quiet
from stackctl.checks.live.reply import End, Reply
from stackctl.checks.live.seen import Seen
from stackctl.model import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stackctl.checks.facts import Endpoint

AGENT = "stackctl-doctor"  # so that a log tells our questions from a client's
BUDGET = 16.5  # seconds from the beginning of the run after which no question waits any longer


class OutOfTime(Exception):  # noqa: N818 - nothing is wrong
    """A question was waited for less long than this server takes for a plain one: its silence says nothing."""


OURS = "?by=stackctl"  # in the address of our questions: what we made fail ourselves is then known in a log


@dataclass(slots=True)
class Peer:
    """An endpoint, and what was learnt of it meanwhile.

    `chat_only` is set where it has no `/v1/messages`: it is then asked by chat completions. `front` says that
    clients talk to it, `alone` that it is a gateway and nothing is known of an engine behind it, `billing` that they put
    their billing header before the prompt, `longest` is the most tokens that they ask for in one answer. `ends` is the
    moment (monotonic) after which no question waits any longer.

    For the check of a gateway that asks the same: `calls_tools` says that it called one well (`call_ids`: under which ids), `stream` is the long answer,
    `tokens` the count of the question of the count; None where they were not asked for.
    """

    endpoint: Endpoint
    ends: float
    chat_only: bool = False
    front: bool = False
    alone: bool = False
    billing: bool = False
    longest: int = 999_999
    lock: Quiet = field(default_factory=Quiet)
    seen: Seen = field(default_factory=Seen)
    calls_tools: bool = False
    call_ids: set[str] = field(default_factory=set)
    stream: Reply | None = None
    tokens: int | None = None
    _said: set[str] = field(default_factory=set)
    _said_lock: threading.Lock = field(default_factory=threading.Lock)

    def first(self, name: str) -> bool:
        """Whether this is said of it for the first time."""
        with self._said_lock:
            new = name not in self._said
            self._said.add(name)
            return new

    def length(self, tokens: int) -> int:
        """How many tokens to ask for: few of the embedded model, which rambles to the limit on a CPU."""
        return min(tokens, 20) if self.endpoint.embedded else tokens

    def words(self) -> dict[str, Any]:
        """What every text about it may name."""
        return {"url": self.endpoint.url, "end": self.name, "name": self.endpoint.name}

    @property
    def over(self) -> bool:
        """Whether no question should begin any more."""
        return time.monotonic() >= self.ends

    @property
    def where(self) -> str:
        """`engine` or `gateway`, as finding ids begin."""
        return self.endpoint.where

    @property
    def name(self) -> str:
        """What people call it: `engine main`, `gateway (claude-local)`."""
        return f"the engine `{self.endpoint.name}`" if self.where == "engine" else "the gateway"

    def left(self, most: float) -> float:
        """At most `most` seconds, less when the run is about to end."""
        return max(0.5, min(most, self.ends - time.monotonic()))

    def get(self, path: str, most: float = 4.0, key: str | None = None) -> probe.Result:
        """A GET with the endpoint's own key, or with `key`."""
        return self._noted(
            probe.request(Probe(self.endpoint.url + path, headers=self._headers(key), timeout=self.left(most)))
        )

    def post(self, path: str, content: Any, most: float = 4.0) -> probe.Result:
        """A POST whose whole answer is wanted."""
        return self._noted(
            probe.request(Probe(self.endpoint.url + path, "POST", self._headers(None), content, self.left(most)))
        )

    def ask(
        self,
        content: Any,
        *,
        most: float = 12.0,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: str = OURS,
        enough: Callable[[Reply], bool] | None = None,
        patient: bool = True,
        **more: Any,
    ) -> Reply:
        """One question in Anthropic's shape: `content` is the user's text, or a list of messages; `more` goes into the body.

        `enough` is looked at after each piece of content: True hangs up (End.LEFT). A
        `patient` question is put again to a server that is busy with our others (429), and raises OutOfTime where it was
        not waited for long enough to judge its silence.
        """
        said = content if isinstance(content, list) else [{"role": "user", "content": content}]
        question = {"model": self.endpoint.model, "max_tokens": 64, "messages": said, "stream": True, **more}
        path, speaks = (chat.PATH, chat) if self.chat_only else (messages.PATH, messages)
        sent = chat.body(question) if self.chat_only else question

        def once() -> Reply:
            target = Probe(
                self.endpoint.url + path + query,
                "POST",
                {**self._headers(key), **(headers or {})},
                sent,
                self.left(most),
            )
            return exchange(target, speaks.Stream, speaks.whole, enough)

        reply = self.lock.in_turn(once, _crowded) if patient else once()
        if patient:
            reply = self.seen.steadied(reply, once)
        self.seen.note_reply(reply, own_model="model" not in more)
        if patient and not self.seen.told(reply, most):
            raise OutOfTime
        return reply

    def _noted(self, answer: probe.Result) -> probe.Result:
        self.seen.note(answer.status, answer.body[:4000].decode(errors="replace"))
        return answer

    def _headers(self, key: str | None) -> dict[str, str]:
        found = {"User-Agent": AGENT, "anthropic-version": "2023-06-01"}
        used = self.endpoint.key if key is None else key
        return found | ({"Authorization": f"Bearer {used}"} if used else {})


def _crowded(reply: Reply) -> bool:
    """Whether the server took offence at several questions at a time; LiteLLM's 429 of a cooldown is another matter."""
    return reply.status == 429 and "No deployments available" not in reply.raw


def exchange(
    target: Probe,
    stream: Callable[[Reply], Any],
    whole: Callable[[Reply, Any], None],
    enough: Callable[[Reply], bool] | None = None,
) -> Reply:
    """Send `target` and read its answer as it comes, within its timeout. Whatever goes wrong is in the reply."""
    reply = Reply()
    began = time.monotonic()
    try:
        with probe.opened(target) as answer:
            reply.status = answer.status
            reply.headers = {name.lower(): value for name, value in answer.getheaders()}
            reply.headers_at = time.monotonic() - began
            content = body.Body(answer)
            reply.streamed = answer.status == 200 and content.streams
            if reply.streamed:
                reply.end = End.CUT
                _read_stream(content, stream(reply), reply, began, enough)
            else:
                read_whole(content, whole, reply, began)
    except probe.FAULTS as fault:
        reply.said = probe.in_words(fault, target, reply.status)
        if isinstance(fault, TimeoutError):
            reply.end = End.TIMEOUT
        elif reply.status != 200:
            reply.end = End.FAULT
    reply.elapsed = time.monotonic() - began
    return reply


def _read_stream(
    answer: body.Body, stream: Any, reply: Reply, began: float, enough: Callable[[Reply], bool] | None
) -> None:
    before = time.monotonic()
    for event in events.read(answer):
        reply.gap, moment, before = max(reply.gap, event.at - before), before, event.at
        if stream.feed(event):
            reply.arrivals += int(event.at != moment or not reply.arrivals)
            if reply.first_at is None:
                reply.first_at = event.at - began
            if enough is not None and enough(reply):
                reply.end = End.LEFT
                return
        if reply.end is End.WHOLE or reply.end is End.ERROR:
            return


def read_whole(answer: Any, whole: Callable[[Reply, Any], None], reply: Reply, began: float) -> None:
    """Read an answer that did not stream into `reply`, whatever it is."""
    raw = b""
    while len(raw) < events.MOST and (part := answer.read1(65536)):
        raw += part
    reply.first_at = time.monotonic() - began
    reply.raw = raw[:4000].decode(errors="replace")
    try:
        reply.body = json.loads(raw)
    except (ValueError, RecursionError):
        reply.body = None
    if reply.status != 200:
        reply.end = End.ERROR
        reply.said = messages.words(reply.body if reply.body is not None else reply.raw)
    elif not isinstance(reply.body, dict):
        reply.end, reply.said = End.ERROR, f"not JSON: {reply.raw[:160]!r}"
    elif reply.body.get("error"):  # a refusal, whatever its status
        reply.end, reply.said = End.ERROR, messages.words(reply.body)
    else:
        try:
            whole(reply, reply.body)
            reply.end = End.WHOLE
        except (KeyError, TypeError, AttributeError, IndexError):
            reply.blocks.clear()
            reply.end, reply.said = End.ERROR, f"JSON, but no answer of this protocol: {reply.raw[:160]!r}"
