"""What a request holds that an engine cannot read: pictures, documents, a provider's own tools. Standard library only.

Copied beside LiteLLM's configuration as `stackctl_blocks.py`, where `stackctl_content.py` uses it. Each part is replaced by
one sentence for the model. An engine's refusal would end the conversation: clients send the whole history each time,
so that the same picture would be refused in every later turn.
"""

import json
import re
from collections.abc import Callable
from typing import Any

_Block = dict[str, Any]

# The blocks of Anthropic's messages, OpenAI's chat completions and OpenAI's responses.
PICTURES = frozenset({"image", "image_url", "input_image"})
DOCUMENTS = frozenset({"document", "file", "input_file"})
TOOLS = frozenset({"server tool"})  # no block: a tool that Anthropic's servers run
# What Anthropic's servers leave in a history when they have searched or run something; vLLM 0.32 refuses each.
_SERVERS = re.compile(r"server_tool_use|mcp_tool_use|container_upload|\w+_tool_result")
_SEALED = ("encrypted_content", "encrypted_index", "page_age")
_LONGEST = 4000  # characters of a server tool's result that the model gets to read

# What engines say to a picture that they cannot read: vLLM (two ways), llama.cpp, SGLang.
_REFUSED_PICTURE = re.compile(
    r"not a multimodal model|At most 0 image|image input is not supported|not support (?:image|vision|multimodal)",
    re.IGNORECASE,
)
_REFUSED_DOCUMENT = re.compile(r"(?:literal_error|invalid|unsupported|not support|unexpected).{0,400}\b(?:document|file|pdf)\b", re.IGNORECASE | re.DOTALL)  # fmt: skip


def holds(value: Any, kinds: frozenset[str]) -> bool:
    """Whether a block of one of these kinds is anywhere in a request's `messages` or `input`."""
    if isinstance(value, list):
        return any(holds(each, kinds) for each in value)
    if not isinstance(value, dict):
        return False
    return value.get("type") in kinds or any(holds(value.get(name), kinds) for name in ("content", "output"))


def refused(error: str) -> frozenset[str]:
    """The kinds of blocks that this error of an engine's speaks against."""
    pictures = PICTURES if _REFUSED_PICTURE.search(error) else frozenset()
    tools = TOOLS if "input_schema" in error else frozenset()
    return pictures | tools | (DOCUMENTS if _REFUSED_DOCUMENT.search(error) else frozenset())


def readable(value: Any, model: str, unread: frozenset[str]) -> Any:
    """`messages` or `input` with the kinds `unread` replaced by sentences; the given value itself is not changed."""
    return _mapped(value, lambda block: _replacement(block, model, unread))


def _mapped(value: Any, change: Callable[[_Block], list[_Block] | None]) -> Any:
    if isinstance(value, list):
        result: list[Any] = []
        for each in value:
            new = change(each) if isinstance(each, dict) else None
            result += [_mapped(each, change)] if new is None else new
        return result
    if isinstance(value, dict):
        below = {
            name: _mapped(value[name], change) for name in ("content", "output") if isinstance(value.get(name), list)
        }
        return {**value, **below} if below else value
    return value


def _replacement(block: _Block, model: str, unread: frozenset[str]) -> list[_Block] | None:
    """The blocks in place of this one; None to keep it."""
    kind = str(block.get("type"))
    text = "input_text" if kind.startswith("input_") else "text"
    if kind in unread and kind in PICTURES:
        said = f"[A picture was here. The model {model} reads text only and has not seen it: say so, and do not guess what it shows.]"
        return [{"type": text, "text": said}]
    if kind in unread and kind in DOCUMENTS:
        return _plain(block) or [
            {
                "type": text,
                "text": f"[A document{_name_of(block)} was here. The model {model} reads text only and has not seen it: say so, "
                "or turn the file into text with a tool (such as pdftotext) and read that.]",
            }
        ]
    if "document" in unread and _SERVERS.fullmatch(kind):
        said = json.dumps(
            {name: _opened(each) for name, each in block.items() if name not in {"type", "cache_control"}}
        )
        return [{"type": "text", "text": f"[{kind}: {said[:_LONGEST]}]"}]
    return None


def _plain(block: _Block) -> list[_Block]:
    """Anthropic's documents that are text already."""
    source = block.get("source")
    if not isinstance(source, dict):
        return []
    if source.get("type") == "text" and isinstance(source.get("data"), str):
        return [{"type": "text", "text": source["data"]}]
    content = source.get("content") if source.get("type") == "content" else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [each for each in content or () if isinstance(each, dict) and each.get("type") == "text"]


def _name_of(block: _Block) -> str:
    file = block.get("file")
    names = [block.get("title"), block.get("filename"), file.get("filename") if isinstance(file, dict) else None]
    return next((f" ({name[:200]})" for name in names if isinstance(name, str) and name.isprintable() and name), "")


def _opened(value: Any) -> Any:
    """Without what only the provider can read."""
    if isinstance(value, list):
        return [_opened(each) for each in value]
    if isinstance(value, dict):
        return {name: _opened(each) for name, each in value.items() if name not in _SEALED}
    return value


def server_tools(tools: Any) -> list[str]:
    """The names of Anthropic's tools without a schema: its own servers run them (web_search, web_fetch, ...)."""
    return [
        str(each.get("name") or each["type"])
        for each in (tools if isinstance(tools, list) else ())
        if isinstance(each, dict) and isinstance(each.get("type"), str) and _is_server(each)
    ]


def _is_server(tool: _Block) -> bool:
    return "input_schema" not in tool and tool["type"] not in {"custom", "function"}


def without_server_tools(data: _Block) -> _Block:
    """The body of a request with the client's own tools only."""
    names = server_tools(data["tools"])
    kept = [each for each in data["tools"] if not (isinstance(each, dict) and "type" in each and _is_server(each))]
    choice = data.get("tool_choice")
    forced = isinstance(choice, dict) and choice.get("name") in names
    return {**{name: each for name, each in data.items() if not (forced and name == "tool_choice")}, "tools": kept}
