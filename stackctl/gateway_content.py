"""Requests in words that the engine can read. LiteLLM runs this: it is copied beside the rendered configuration as
`stackctl_content.py` and named there as `callbacks: stackctl_content.content`.

What a model can read is in its row of the configuration (`supports_vision`, `supports_pdf_input`, `supports_web_search`):
false is replaced from the first request on, true or nothing goes through. Where the engine refuses it nevertheless, that
is learned for as long as the gateway runs: the refusal is seen once, and from then on the conversation works again.
"""

from typing import Any

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import ProxyException, UserAPIKeyAuth
from stackctl_blocks import (  # type: ignore[import-not-found]
    DOCUMENTS,
    PICTURES,
    TOOLS,
    holds,
    readable,
    refused,
    server_tools,
    without_server_tools,
)

_ASKS = frozenset({"anthropic_messages", "completion", "acompletion", "responses", "aresponses"})


class Content(CustomLogger):  # type: ignore[misc]
    """Replaces what the asked model cannot read, and refuses in one sentence what only a provider's servers can run."""

    def __init__(self) -> None:
        super().__init__()
        self._learned: dict[str, frozenset[str]] = {}

    async def async_pre_call_hook(
        self,
        user_api_key_dict: UserAPIKeyAuth,  # noqa: ARG002 - LiteLLM's signature
        cache: Any,  # noqa: ARG002
        data: dict[str, Any],
        call_type: str,
    ) -> dict[str, Any]:
        """LiteLLM's hook before each request; `data` is the request's body."""
        row = _row(data.get("model")) if str(call_type) in _ASKS else None
        if row is None:
            return data
        info = row.get("model_info") or {}
        unread = self._learned.get(_engine(row), frozenset())
        unread |= PICTURES if info.get("supports_vision") is False else frozenset()
        unread |= DOCUMENTS if info.get("supports_pdf_input") is False else frozenset()
        unread |= TOOLS if info.get("supports_web_search") is False else frozenset()
        for name in ("messages", "input"):
            if unread and isinstance(data.get(name), list):
                data[name] = readable(data[name], _name(row), unread)
        if call_type == "anthropic_messages" and unread >= TOOLS:
            return _own_tools(data, row)
        return data

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: UserAPIKeyAuth,  # noqa: ARG002 - LiteLLM's signature
        traceback_str: str | None = None,  # noqa: ARG002
    ) -> None:
        """LiteLLM's hook after a request that failed; `request_data` is its body."""
        row = _row(request_data.get("model"))
        sent = [request_data.get("messages"), request_data.get("input")]
        against = refused(str(getattr(original_exception, "message", original_exception)))
        there = [kinds for kinds in (PICTURES, DOCUMENTS) if holds(sent, kinds)]
        there += [TOOLS] if server_tools(request_data.get("tools")) else []
        if row is not None:
            known = self._learned.get(_engine(row), frozenset())
            self._learned[_engine(row)] = known.union(*(kinds for kinds in there if kinds <= against))


def _own_tools(data: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """The request without a provider's tools. Raises ProxyException when it has no other: it is all about them."""
    names = server_tools(data.get("tools"))
    if not names:
        return data
    if len(names) == len(data["tools"]):
        message = (
            f"stackctl: {', '.join(names)} is not available: it runs on Anthropic's servers, and {_name(row)} runs here"
        )
        raise ProxyException(message=message, type="invalid_request_error", param="tools", code=400)
    return without_server_tools(data)  # type: ignore[no-any-return]


def _row(model: Any) -> dict[str, Any] | None:
    from litellm.proxy.proxy_server import llm_router

    rows = llm_router.model_list if llm_router is not None else ()
    return next((row for row in rows if row.get("model_name") == model), None)


def _engine(row: dict[str, Any]) -> str:
    """What one engine's rows share, whichever protocol they speak."""
    given = row.get("litellm_params") or {}
    return f"{str(given.get('api_base')).removesuffix('/v1')} {_name(row)}"


def _name(row: dict[str, Any]) -> str:
    """The engine's own name for the model."""
    return str((row.get("litellm_params") or {}).get("model")).partition("/")[2]


content = Content()
