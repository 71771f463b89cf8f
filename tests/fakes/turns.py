"""What the scripted engine answers: in the tests of the gateway each turn is chosen by a word of the question."""

from typing import Any

TURNS: list[dict[str, Any]] = [
    {"when": {"tool_result": True}, "reply": [{"text": "The tool has answered."}]},
    {"when": {"last": "no-arguments"}, "reply": [{"text": "Listing."}, {"tool": "list_files", "input": {}}]},
    {"when": {"last": "bare-call"}, "reply": [{"tool": "list_files", "input": None}]},
    {"when": {"last": "two-arguments"}, "reply": [{"tool": "weather", "input": {"city": 'Zürich "ZH"', "days": 3}}]},
    {
        "when": {"last": "two-calls"},
        "reply": [{"tool": "list_files", "input": {}}, {"tool": "weather", "input": {"city": "Bern", "days": 1}}],
    },
    {"when": {"last": "think-first"}, "reply": [{"thinking": "The user wants a sum."}, {"text": "It is four."}]},
    {"when": {"last": "fail-once"}, "times": 1, "reply": [{"status": 500, "error": "the engine's own words"}]},
    {
        "when": {"last": "refuse-request"},
        "reply": [{"status": 400, "type": "BadRequestError", "error": "not like this"}],
    },
    {"when": {"last": "long-silence"}, "reply": [{"text": "Before,"}, {"silence": 4.0}, {"text": " and after."}]},
    {"when": {"last": "cut-here"}, "reply": [{"text": "This stream ends"}, {"cut": True}]},
]

BEFORE = "greeting = 'hello'\n"
AFTER = "greeting = 'good morning'\n"
LAST_WORD = "The greeting is changed."


def edit(file: str) -> list[dict[str, Any]]:
    """Claude Code asked to "Change the greeting" reads `file`, which holds BEFORE, edits it to AFTER, and says LAST_WORD."""
    change = {"file_path": file, "old_string": "'hello'", "new_string": "'good morning'"}
    return [
        {"when": {"result": "has been updated"}, "reply": [{"text": LAST_WORD}]},
        {"when": {"result": "greeting"}, "reply": [{"text": "Now the change."}, {"tool": "Edit", "input": change}]},
        {
            "when": {"any": "Change the greeting", "has_tool": "Edit", "tool_result": False},
            "reply": [{"text": "I read it first."}, {"tool": "Read", "input": {"file_path": file}}],
        },
    ]
