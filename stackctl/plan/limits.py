"""Windows and output limits, in tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.config import EMBEDDED

if TYPE_CHECKING:
    from stackctl.config import EngineConfig

EMBEDDED_WINDOW = 32768  # the checkpoint was trained for 8k; Claude Code's first request alone has 7.6k
EMBEDDED_OUTPUT = 256  # it rambles up to the limit, at 25 tokens a second, and Claude Code then asks three times more
OUTPUT_MAX = 32000  # what Claude Code asks for by itself when it does not know a model
OUTPUT_UNKNOWN = 8192  # fits every window that an agent can work in


def configured_window(engine: EngineConfig) -> int | None:
    """The window when the configuration alone decides it."""
    if isinstance(engine.max_model_len, int):
        return engine.max_model_len
    given = engine.args.get("max-model-len")
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    return EMBEDDED_WINDOW if engine.model == EMBEDDED and given is None else None


def output_limit(engine: EngineConfig, window: int | None) -> tuple[int, str]:
    """The most tokens that a client may ask for in one answer, and why."""
    if engine.model == EMBEDDED:
        return max(
            1, min(EMBEDDED_OUTPUT, (window or EMBEDDED_WINDOW) // 4)
        ), "low: the embedded model rambles up to it"
    if window is None:
        return OUTPUT_UNKNOWN, "the window is not known before the engine runs"
    return max(1, min(OUTPUT_MAX, window // 4)), f"a quarter of the window, at most {OUTPUT_MAX}"
