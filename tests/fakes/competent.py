"""What a model that can use tools says by itself, so that a probe's own words need no script."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.fakes.script import flatten

if TYPE_CHECKING:
    from tests.fakes.script import Json, Request

_FEW = 4  # tools; a client that offers more is an agent, which asks for one by its name
_PACE = 0.01  # seconds between two tokens of a long answer


def turn(request: Request, *, thinks: bool) -> Json:
    """The turn for `request`; `thinks` when the engine has a reasoning parser and the model reasons before it answers."""
    before = [{"thinking": "Let me see what is asked."}] if thinks else []
    if request.tool_result is not None:
        return {"reply": [*before, {"text": f"The tool says: {request.tool_result[:200]}"}]}
    tool = _chosen(request)
    if tool is not None:
        return {"reply": [*before, {"tool": tool["name"], "input": _arguments(tool, request.last_user_text)}]}
    said = request.last_user_text
    if re.search(r"\bcount\b|\blong\b", said, re.IGNORECASE):
        return {"reply": [*before, {"text": " ".join(map(str, range(1, 2000)))}], "pace": _PACE}
    return {"reply": [*before, {"text": f"You said: {said[-200:]}"}]}


def tools_of(request: Request) -> list[Json]:
    """The tools of any protocol as name, description and schema."""
    found = []
    for each in request.body.get("tools") or []:
        tool = each.get("function") or each
        if tool.get("name"):
            schema = tool.get("input_schema") or tool.get("parameters") or {}
            found.append({"name": tool["name"], "description": tool.get("description") or "", "schema": schema})
    return found


def _chosen(request: Request) -> Json | None:
    """The tool that is demanded, else the one that the user's words are about; None when none is wanted."""
    tools = tools_of(request)
    choice = request.body.get("tool_choice") or "auto"
    if not tools or choice in ("none", {"type": "none"}):
        return None
    if isinstance(choice, dict):
        name = choice.get("name") or (choice.get("function") or {}).get("name")
        named = [each for each in tools if each["name"] == name]
        if named:
            return named[0]
    said = _words(request.last_user_text)
    literal = [each for each in tools if re.search(rf"\b{re.escape(each['name'])}\b", request.last_user_text)]
    if literal:
        return literal[0]
    demanded = choice in ("required", "any") or choice == {"type": "any"}
    if len(tools) > _FEW and not demanded:
        return None
    best = max(tools, key=lambda each: len(said & _words(f"{each['name']} {each['description']}")))
    return best if demanded or said & _words(f"{best['name']} {best['description']}") else None


def _words(text: str) -> set[str]:
    return {each.lower() for each in re.findall(r"[A-Za-z]{3,}", text.replace("_", " "))} - {"the", "and", "for", "use"}


def _arguments(tool: Json, said: str) -> Json:
    properties: Json = tool["schema"].get("properties") or {}
    return {name: _value(schema, said) for name, schema in properties.items()}


def _value(schema: Json, said: str) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    numbers = re.findall(r"\b\d+\b", said)
    quoted = re.findall(r"[\"'`]([^\"'`]+)[\"'`]", said)
    names = re.findall(r"(?<=\s)[A-Z][\w.-]+", said)
    plain: dict[str, Any] = {
        "integer": int(numbers[0]) if numbers else 3,
        "number": float(numbers[0]) if numbers else 3.0,
        "boolean": True,
        "array": [],
        "object": {},
    }
    return plain.get(schema.get("type", "string"), (quoted or names or ["value"])[0])


def has_image(request: Request) -> bool:
    """Whether a picture is anywhere in the messages."""

    def within(value: Any) -> bool:
        if isinstance(value, list):
            return any(map(within, value))
        return isinstance(value, dict) and (
            value.get("type") in {"image", "image_url", "input_image"} or within(value.get("content"))
        )

    return any(within(each.get("content")) or within(each.get("output")) for each in request.messages)


def text_of(message: Json) -> str:
    """All text of one message."""
    return flatten(message.get("content", ""))
