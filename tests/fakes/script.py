"""What the scripted engine says: turns chosen by what was asked, from a JSON file.

    {"turns": [
        {"when": {"tool_result": true}, "reply": [{"text": "Done."}]},
        {"when": {"last": "weather"}, "reply": [{"thinking": "hm"}, {"tool": "get", "input": {"city": "Bern"}}]},
        {"reply": [{"text": "ok"}]}
    ]}

The first turn that fits answers; without any, a fixed text. `when` may hold: `last` (the last user text contains it),
`any` (the whole prompt contains it), `tool_result` (the last message holds one, or not), `result` (that result contains
it), `has_tool` (the client offered a tool of that name), `path`. `"times": n` uses a turn up n times.

`reply` is a list of blocks: `{"text"}`, `{"thinking"}`, `{"tool", "input"}` (`"input": null` sends no arguments at all),
`{"status", "error", "type"}` (an HTTP error), `{"silence": seconds}`, `{"cut": true}` (the connection breaks here).
A turn's `"pace"` is the time in seconds between two tokens.
"""

import json
import re
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

DEFAULT: Json = {"reply": [{"text": "Hello from the scripted engine."}]}


def tokens(text: str) -> list[str]:
    """`text` in pieces that join to it again: a word with the space before it, or one other character."""
    return re.findall(r"\s*\w+|\s*[^\w\s]|\s+", text)


def flatten(value: Any) -> str:
    """All text in a message's content, in order; what a chat template would render."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(flatten(each) for each in value)
    if isinstance(value, dict):
        if value.get("type") in {"text", "input_text", "output_text", "thinking"}:
            return str(value.get("text") or value.get("thinking") or "")
        if value.get("type") in {"tool_result", "function_call_output"}:
            return flatten(value.get("content") or value.get("output") or "")
        return json.dumps(value, sort_keys=True)
    return ""


def _without_billing(path: str, system: Any) -> Any:
    """vLLM's own `/v1/messages` leaves Claude Code's billing header out of the prompt (entrypoints/anthropic/serving.py)."""
    if not path.startswith("/v1/messages") or not isinstance(system, list):
        return system
    return [each for each in system if not str(each.get("text", "")).startswith("x-anthropic-billing-header")]


class Request:
    """One request of any of the four protocols, as the script sees it."""

    def __init__(self, path: str, body: Json) -> None:
        self.path = path
        self.body = body
        given = body.get("messages", body.get("input", body.get("prompt", "")))
        self.messages: list[Json] = given if isinstance(given, list) else [{"role": "user", "content": given}]
        tools = body.get("tools") or []
        self.tools = [each.get("name") or (each.get("function") or {}).get("name", "") for each in tools]
        system = flatten(_without_billing(path, body.get("system") or body.get("instructions") or ""))
        said = [f"{each.get('role', each.get('type'))}: {flatten(each.get('content', each))}" for each in self.messages]
        self.prompt = "\n".join([system, json.dumps(tools, sort_keys=True) if tools else "", *said, "assistant:"])
        self.tokens = tokens(self.prompt)

    @property
    def last_user_text(self) -> str:
        """The text of the last message that a user wrote."""
        for message in reversed(self.messages):
            if message.get("role", "user") == "user":
                return flatten(message.get("content", ""))
        return ""

    @property
    def tool_result(self) -> str | None:
        """What a tool answered in the last message; None when it holds no such answer."""
        last = self.messages[-1] if self.messages else {}
        if last.get("role") == "tool" or last.get("type") == "function_call_output":
            return flatten(last.get("content") or last.get("output") or "")
        content = last.get("content")
        blocks = [each for each in content if each.get("type") == "tool_result"] if isinstance(content, list) else []
        return flatten(blocks) if blocks else None


class Script:
    """The turns, and how often each was used."""

    def __init__(self, path: str | None) -> None:
        self._turns: list[Json] = []
        if path:
            with open(path, encoding="utf-8") as stream:
                self._turns = json.load(stream)["turns"]
        self._used = [0] * len(self._turns)
        self._lock = threading.Lock()

    def choose(self, request: Request) -> Json:
        """The first turn that fits and is not used up."""
        with self._lock:
            for index, turn in enumerate(self._turns):
                if self._used[index] < turn.get("times", 1 << 30) and _fits(turn.get("when", {}), request):
                    self._used[index] += 1
                    return turn
        return DEFAULT


def _fits(when: Json, request: Request) -> bool:
    result = request.tool_result
    tests: dict[str, Callable[[Any], bool]] = {
        "last": lambda want: want in request.last_user_text,
        "any": lambda want: want in request.prompt,
        "tool_result": lambda want: (result is not None) == want,
        "result": lambda want: result is not None and want in result,
        "has_tool": lambda want: want in request.tools,
        "path": lambda want: want == request.path,
    }
    return all(tests[name](want) for name, want in when.items())  # a misspelt name is a KeyError: never a silent yes
