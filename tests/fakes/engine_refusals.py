"""What vLLM 0.32 refuses of a request, in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.script import Json, Request

if TYPE_CHECKING:
    from tests.fakes.engine_flags import Flags

_BLOCKS = ("text", "image", "tool_use", "tool_result", "tool_reference", "thinking", "redacted_thinking")


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """An HTTP error in vLLM's words."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


def readable(path: str, body: Json, flags: Flags) -> Request:
    """The request, for a model that is served; raises Refused for one that vLLM cannot read."""
    missing = [name for name in ("messages",) if path.startswith("/v1/messages") and name not in body]
    if missing:
        raise Refused(400, "Bad Request", f"1 validation errors: body.{missing[0]} Field required")
    if body.get("model") not in flags.names:
        valid = ", ".join(flags.names)
        raise Refused(404, "NotFoundError", f"The model `{body.get('model')}` does not exist. Valid aliases: {valid}.")
    _known_blocks(path, body)
    return Request(path, body)


def _known_blocks(path: str, body: Json) -> None:
    """Raise what vLLM 0.32 refuses: blocks that it does not know, tools without a schema."""
    if path.startswith("/v1/messages"):
        contents = [each["content"] for each in body["messages"] if isinstance(each["content"], list)]
        kinds = [each["type"] for content in contents for each in content if each["type"] not in _BLOCKS]
        if kinds:
            known = ", ".join(map(repr, _BLOCKS))
            raise Refused(
                400,
                "Bad Request",
                f"'type': 'literal_error', 'msg': \"Input should be {known}\", 'input': {kinds[0]!r}",
            )
        if any("input_schema" not in each for each in body.get("tools") or []):
            raise Refused(
                400,
                "Bad Request",
                "'type': 'missing', 'loc': ('body', 'tools', 0, 'input_schema'), 'msg': 'Field required'",
            )


def limit(request: Request, flags: Flags) -> int:
    """The most tokens that the answer may have; raises what vLLM refuses, in its words."""
    body = request.body
    asked = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens")
    if request.path == "/v1/messages" and asked is None:
        raise Refused(400, "Bad Request", "1 validation errors: body.max_tokens Field required")
    window, used = flags.window, len(request.tokens)
    if asked and asked > window:
        detail = f"(parameter=max_completion_tokens, value={asked})"
        raise Refused(
            400,
            "BadRequestError",
            f"max_completion_tokens={asked} cannot be greater than max_model_len={window}. "
            f"Please request fewer output tokens. {detail}",
        )
    if used >= window:
        raise Refused(
            400,
            "BadRequestError",
            f"This model's maximum context length is {window} tokens. However, your prompt contains at least {used} "
            "input tokens, which exceeds this limit even without any output tokens.",
        )
    thinking = body.get("thinking") or {}
    budget = thinking.get("budget_tokens") if thinking.get("type") == "enabled" else body.get("thinking_token_budget")
    if budget is not None and asked and budget >= asked:
        raise Refused(400, "Bad Request", "thinking.budget_tokens must be less than max_tokens")
    if budget is not None and not (flags.has("reasoning-parser") or flags.has("reasoning-config")):
        raise Refused(
            400,
            "BadRequestError",
            "thinking_token_budget is set but reasoning_config is not configured. Please set --reasoning-parser "
            "and/or --reasoning-config to use thinking_token_budget.",
        )
    if (
        request.tools
        and body.get("tool_choice") not in ("none", {"type": "none"})
        and not (
            flags.has("enable-auto-tool-choice") and flags.has("tool-call-parser") and "no-auto" not in flags.faults
        )
    ):
        raise Refused(
            400,
            "BadRequestError",
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        )
    return min(asked or window, window - used)
