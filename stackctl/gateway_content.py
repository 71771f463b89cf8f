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
        unread = self._unread(row)
        _in_words(data, row, unread)
        if call_type == "anthropic_messages" and unread >= TOOLS:
            return _own_tools(data, row)
        return data

    def countable(self, data: dict[str, Any]) -> dict[str, Any]:
        """The body of a question about tokens as the same request would be sent; `data` itself is not changed."""
        row = _row(data.get("model"))
        if row is None:
            return data
        unread, data = self._unread(row), dict(data)
        _in_words(data, row, unread)
        return without_server_tools(data) if unread >= TOOLS and server_tools(data.get("tools")) else data

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: UserAPIKeyAuth,  # noqa: ARG002 - LiteLLM's signature
        traceback_str: str | None = None,  # noqa: ARG002
    ) -> None:
        """LiteLLM's hook after a request that failed; `request_data` is its body."""
        self.learn(request_data, str(getattr(original_exception, "message", original_exception)))

    def learn(self, asked: dict[str, Any], error: str) -> bool:
        """Keep what the engine's refusal of this request speaks against; whether that is new."""
        row = _row(asked.get("model"))
        if row is None:
            return False
        against, sent = refused(error), [asked.get("messages"), asked.get("input")]
        there = [kinds for kinds in (PICTURES, DOCUMENTS) if holds(sent, kinds)]
        there += [TOOLS] if server_tools(asked.get("tools")) else []
        known = self._learned.get(_engine(row), frozenset())
        self._learned[_engine(row)] = known.union(*(kinds for kinds in there if kinds <= against))
        return self._learned[_engine(row)] != known

    def _unread(self, row: dict[str, Any]) -> frozenset[str]:
        """The kinds of blocks that the engine of this row does not read."""
        info = row.get("model_info") or {}
        unread = self._learned.get(_engine(row), frozenset())
        unread |= PICTURES if info.get("supports_vision") is False else frozenset()
        unread |= DOCUMENTS if info.get("supports_pdf_input") is False else frozenset()
        return unread | (TOOLS if info.get("supports_web_search") is False else frozenset())


def _in_words(data: dict[str, Any], row: dict[str, Any], unread: frozenset[str]) -> None:
    for name in ("messages", "input"):
        if unread and isinstance(data.get(name), list):
            data[name] = readable(data[name], _name(row), unread)


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
