"""What the scripted engine answers in the tests of the gateway: each turn is chosen by a word of the question."""

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
