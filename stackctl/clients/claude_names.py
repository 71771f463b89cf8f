"""Claude Code's own names, and what they mean to it: variables, tiers, models of Anthropic's. Light: `stackctl env` loads it."""

from __future__ import annotations

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

TOKEN = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105 - a variable's name
SWITCHES = (  # each makes Claude Code ignore ANTHROPIC_BASE_URL (the list is in its own program, 2.1.330)
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD",
    "CLAUDE_CODE_USE_GATEWAY",
)
REMOVED = (
    "ANTHROPIC_API_KEY",  # beside the token, Claude Code sends both and warns of a conflict
    "ANTHROPIC_SMALL_FAST_MODEL",  # the old name of the background model: the gateway does not serve it
    "ANTHROPIC_UNIX_SOCKET",  # goes before the base URL
    *SWITCHES,
)
_REAL = (
    "claude-opus",
    "claude-sonnet",
    "claude-haiku",
    "claude-fable",
    "claude-instant",
    *(f"claude-{n}" for n in range(1, 10)),
)
_SHORT = ("opus", "sonnet", "haiku", "fable", "opusplan", "best")
TIERS = {"OPUS": ("opus",), "SONNET": ("sonnet",), "HAIKU": ("haiku", "background"), "FABLE": ("fable",)}  # -> routes
# Headers that keys are sent in, in lower case; 2.1.330 lets its own Authorization win over one of ANTHROPIC_CUSTOM_HEADERS.
KEY_HEADERS = frozenset({"authorization", "x-api-key"})
WINDOW, OUTPUT, TIMEOUT = LIMITS = (
    "CLAUDE_CODE_MAX_CONTEXT_TOKENS",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    "API_TIMEOUT_MS",
)  # in tokens, tokens, milliseconds
DENIED = ("WebSearch",)  # a tool that runs on Anthropic's servers: vLLM answers 400, LiteLLM drops it in silence


def is_real(model: str) -> bool:
    """Whether Claude Code takes this for a model of Anthropic's: then it believes that it knows the window."""
    return model.lower().removeprefix("anthropic/").startswith(_REAL) or model.lower() in _SHORT


def tier_of(model: str) -> str:
    """The tier that a short name of Claude Code's stands for, as in its variables; empty for any other name."""
    name = {"opusplan": "sonnet", "best": "opus"}.get(model.lower(), model.lower()).upper()  # 2.1.330, tried
    return name if name in TIERS else ""


def unfit(name: str, value: str, wanted: str) -> str:
    """What is wrong with one of LIMITS, in words; empty where it is `wanted`, or does no harm.

    Claude Code takes the digits that a value begins with: `32k` is 32 (2.1.330, tried).
    """
    if value == wanted or not wanted.isdigit():
        return ""
    digits = value[: len(value) - len(value.lstrip("0123456789"))]
    if digits != value:
        return f"{name}={value} is no whole number: Claude Code takes it as {int(digits)}" if digits else ""
    number, right = int(value or "0"), int(wanted)
    if name == TIMEOUT and 0 < number < right:
        return f"{name}={value}: Claude Code gives a request up after {number / 1000:g} s (these are milliseconds)"
    if name == WINDOW and number > right:
        return f"{name}={value}: Claude Code believes in a window of {number:,} tokens, and there are {right:,}"
    if name == OUTPUT and number > right:
        return f"{name}={value}: Claude Code may ask for {number:,} tokens at once, and {right:,} are allowed"
    if name != TIMEOUT and number and number < right // 2:
        what = "compacts long before it must" if name == WINDOW else "cuts long answers off"
        return f"{name}={value}: Claude Code {what}, {right:,} tokens are there"
    return ""


def settings(variables: Mapping[str, str], emptied: Sequence[str] = ()) -> dict[str, Any]:
    """A settings fragment with the same effect; it also takes away the tool that no local model can serve.

    `emptied` are variables that another settings file sets and that must not count: an empty value wins over it.
    """
    return {"env": {**variables, **dict.fromkeys(emptied, "")}, "permissions": {"deny": list(DENIED)}}
