"""How an engine that starts and answers can still be wrong: what the scripted engine does with each of these faults.

tools=FORMAT      calls come as text in that markup (hermes, json, xml, mistral, llama3, pythonic): the parser does not
                  read this model. A forced call is decoded by a grammar and needs no parser, as in vLLM
tools=none        prose in place of calls; tools=empty: no arguments; tools=broken: JSON that does not end;
tools=thinking    the call is written inside the thinking; tools=wrong: a tool that nobody offered
think-open        the thinking stands in the text between <think> and </think>: the reasoning parser reads another model's
thinks            the model thinks whatever the flags say, and so into the text where there is no reasoning parser
gibberish         only `!`; leak: the end of turn is written out and the model goes on
no-stop           the stream ends without its last events; start=twice: two message_start; blocks=mixed: deltas of
                  another type than their block; cut=N: the connection breaks after N events
burst             the stream comes in one piece at its end; plain: JSON although a stream was asked for
usage=zero        no tokens are counted
silence=SECONDS   in the middle of each stream; slow=SECONDS before the first token
system-first      a system message further down is refused; no-thinking-blocks: so is thinking in the history;
no-results        the result of a tool is refused
strict            so is a field that is not Anthropic's own; bare: everything, for want of a --chat-template;
no-auto           tools, as without --enable-auto-tool-choice; too-many: the second request at a time (429)
no-messages       an engine without /v1/messages; count=404: without count_tokens; count=guess: a third of the truth
key=open          no key is asked for; key=reject: none is right
window=N, names=A+B, version=V   the truth is another than the flags say
health=503, metrics=404          those pages
no-cache          nothing is found in the prefix cache (as with --no-enable-prefix-caching); deaf: a client that leaves does not end its request
page              every answer is a web page: another program listens here; redirect: to another place
vision            pictures are taken (vLLM refuses them for a model that is not made for them)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.fakes import competent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.fakes.script import Json, Request

Refusal = tuple[int, str, str]  # status, type, message
NO_TEMPLATE = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template if the "
    "tokenizer does not define one."
)
_EXTRA = ("context_management", "output_config", "speed", "mcp_servers")


def markup(form: str, name: str, given: Json) -> str:
    """A tool call as a model of that family writes it."""
    call = json.dumps({"name": name, "arguments": given})
    forms = {
        "hermes": f"<tool_call>\n{call}\n</tool_call>",
        "json": f"```json\n{call}\n```",
        "xml": "<tool_call>\n"
        f"<function={name}>\n"
        + "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in given.items())
        + "</function>\n</tool_call>",
        "mistral": f"[TOOL_CALLS]{name}[ARGS]{json.dumps(given)}",
        "llama3": f"<|python_tag|>{json.dumps({'name': name, 'parameters': given})}",
        "pythonic": f"[{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})]",
    }
    return forms[form]


_READS = {
    "hermes": {"hermes"},
    "xml": {"qwen3_xml", "qwen3_coder"},
    "mistral": {"mistral"},
    "llama3": {"llama3_json", "llama4_json"},
    "pythonic": {"pythonic", "llama4_pythonic"},
}


def unread(faults: Mapping[str, str], *, reasoner: bool) -> Mapping[str, str]:
    """The faults as they show: without a reasoning parser, what is thought stays in the text."""
    return {**faults, "think-open": ""} if "thinks" in faults and not reasoner else faults


def reply(blocks: list[Json], request: Request, faults: Mapping[str, str], parser: str) -> list[Json]:
    """What a sick model or parser makes of a reply."""
    made: list[Json] = []
    forced = request.body.get("tool_choice") not in (None, "auto", {"type": "auto"}, "none", {"type": "none"})
    how = faults.get("tools", "")
    how = "" if parser in _READS.get(how, ()) else how
    for block in blocks:
        if "tool" in block and how and not (forced and how not in {"empty", "broken"}):
            made += _call(block, how)
        elif "thinking" in block and "think-open" in faults:
            made.append({"text": f"<think>\n{block['thinking']}\n</think>\n\n"})
        elif "text" in block and "gibberish" in faults:
            made.append({"text": "!" * 400})
        elif "text" in block and "leak" in faults:
            made.append(
                {"text": f"{block['text']}<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n"}
            )
        else:
            made.append(block)
    return made


def _call(block: Json, how: str) -> list[Json]:
    name, given = block["tool"], block.get("input") or {}
    if how == "none":
        return [{"text": f"I would now use the tool {name}, and then look at what it says."}]
    if how == "empty":
        return [{"tool": name, "input": None}]
    if how == "broken":
        return [{"tool": name, "raw": json.dumps(given or {"a": 1})[:-1]}]
    if how == "wrong":
        return [{"tool": f"functions.{name}:0", "input": given}]
    if how == "thinking":
        return [{"thinking": f"I need a tool.\n{markup('hermes', name, given)}"}]
    return [{"text": markup(how, name, given)}]


def refusal(request: Request, faults: Mapping[str, str], others: int) -> Refusal | None:
    """How the request is refused, in the words of the engines that do; None when it is not."""
    messages = request.messages
    if "bare" in faults:
        return 400, "BadRequestError", NO_TEMPLATE
    if "system-first" in faults and any(each.get("role") == "system" for each in messages[1:]):
        return 400, "BadRequestError", "System message must be at the beginning."
    if "no-thinking-blocks" in faults and any("thinking" in _types(each) for each in messages):
        return 400, "Bad Request", (
            "56 validation errors:\n  {'type': 'literal_error', 'loc': ('body', 'messages', 1, 'content', 0, 'type'), 'msg': "
            "\"Input should be 'text', 'image', 'tool_use' or 'tool_result'\", 'input': 'thinking'}"
        )  # fmt: skip
    if "no-results" in faults and request.tool_result is not None:
        return 400, "BadRequestError", "Only user, assistant and system roles are supported, but got tool."
    extra = [name for name in _EXTRA if name in request.body]
    if "strict" in faults and extra:
        return 400, "invalid_request_error", f"{extra[0]}: Extra inputs are not permitted"
    if "vision" not in faults and competent.has_image(request):
        return 400, "BadRequestError", f"{request.body.get('model')} is not a multimodal model"
    if "too-many" in faults and others > 0:
        return 429, "rate_limit_error", "Too many requests"
    return None


def _types(message: Json) -> set[str]:
    content = message.get("content")
    return {each.get("type", "") for each in content if isinstance(each, dict)} if isinstance(content, list) else set()


def events(stream: Iterator[bytes | Json], faults: Mapping[str, str]) -> Iterator[bytes | Json]:
    """The events of a stream as they leave a sick server."""
    cut = int(faults.get("cut", 0))
    silence = float(faults.get("silence", 0))
    held: list[bytes] = []
    for number, event in enumerate(stream):
        if isinstance(event, dict):
            yield event
            continue
        if cut and number >= cut:
            yield {"cut": True}
        if silence and number == 2:
            yield {"silence": silence}
        out = _event(event, faults)
        if "burst" in faults:
            held += out
        else:
            yield from out
    if held:
        yield {"silence": 0.6}
        yield b"".join(held)


def _event(raw: bytes, faults: Mapping[str, str]) -> list[bytes]:
    if "no-stop" in faults and (b"message_stop" in raw or b"message_delta" in raw or b"[DONE]" in raw):
        return []
    if faults.get("start") == "twice" and b"event: message_start" in raw:
        return [raw, raw]
    if faults.get("blocks") == "mixed" and b'"text_delta"' in raw:
        return [raw.replace(b'"text_delta", "text"', b'"thinking_delta", "thinking"')]
    return [raw]


def usage(given: Any, faults: Mapping[str, str]) -> Any:
    """The usage that is reported."""
    if faults.get("usage") == "zero":
        given.prompt = given.output = 0
        given.cached = given.created = None
    return given


PAGE = b"<!doctype html><html><head><title>Welcome</title></head><body>It works!</body></html>"
