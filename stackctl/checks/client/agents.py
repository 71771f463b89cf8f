"""Other agents' own files (Codex, OpenCode, Qwen Code): where they point at this stack and cannot use it.

What is none of the stack's business is left alone: an address counts when it is the stack's, and also when the key or the
model beside it is.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stackctl import addresses, sockets
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.client import told
from stackctl.clients import codex, opencode_files, qwen
from stackctl.clients.conflicts import home_of, jsonc, text_of
from stackctl.keys import PREFIX
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from stackctl.checks.facts import Facts
    from stackctl.model import ClientFacts, Finding

_BUILT_IN = {"openai", "ollama", "lmstudio", "oss", "amazon-bedrock"}  # Codex's providers that need no section
_REFERENCE = re.compile(r"\{env:([^}]+)\}")
_MAX_TOKENS = re.compile(r'"max_tokens": (\d+)')
_OUTPUTS = ((r"qwen3\.\d|claude-", 64_000), (r"qwen", 32_768), (r"gpt-", 16_384), (r"gemini-|deepseek-chat", 8_192))
_ASSIGNED = re.compile(r"^\s*(?:export\s+)?(OPENAI_\w+)\s*=\s*['\"]?([^'\"\s#]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where an agent's file leads: `variable` is the one that its key is read from, `against` what speaks against all of it."""

    agent: str
    path: str
    url: str
    model: str = ""
    key: str = ""
    variable: str = ""
    against: str = ""
    output: int = 0  # tokens that it asks for at once, where it says so


def agents(facts: Facts) -> Iterator[Finding]:
    """Other agents whose files point at this stack can use it."""
    client = facts.client if facts.own else None
    if client is None:
        return
    for each in (*_codex(facts), *_opencode(facts), *_qwen(facts)):
        why = (each.against or _wrong(each, facts)) if each.url and _meant(each, facts, client) else ""
        if why:
            title = {"codex": "Codex", "opencode": "OpenCode", "qwen": "Qwen Code"}[each.agent]
            yield answers.finding(
                "client.other-agent", Status.WARN, (f"{each.path}: {why}",),
                title=title, path=each.path, why=why, agent=each.agent, blocks=False,
            )  # fmt: skip


def _meant(each: Pointer, facts: Facts, client: ClientFacts) -> bool:
    """Whether this is about our stack, by its address, or on this machine by its key or its model."""
    if told.place(each.url) == told.place(told.gateway(facts)):
        return True
    ours = {client.model, client.served, *(row.model for row in client.routes)}
    return told.place(each.url)[0] == "127.0.0.1" and (each.key.startswith(PREFIX) or each.model in ours)


def _wrong(each: Pointer, facts: Facts) -> str:
    """What keeps the agent from the stack, in words; the first of it."""
    here, port = told.gateway(facts), told.place(each.url)[1]
    if told.place(each.url) != told.place(here):
        if any(listener.port == port for listener in sockets.listening()):
            return ""  # somebody else's, and as it may be meant
        return f"is pointed at {each.url}, where nobody listens (the stack: {here}/v1)"
    direct = facts.prepared is not None and facts.prepared.plan.gateway.kind == "direct"
    if direct and addresses.parts(each.url).path.rstrip("/") != "/v1":
        return f"is pointed at {each.url}, which lacks /v1: {here}/v1"
    if each.variable and not facts.environ.get(each.variable):
        return f"takes its key from ${each.variable}, which is not set in this shell"
    key = facts.environ.get(each.variable, "") if each.variable else each.key
    if key and facts.client_key and key != facts.client_key:
        return "has another key than the stack's"
    window = facts.client.window if facts.client is not None else None
    if direct and window and each.output > window:  # LiteLLM would clamp it
        return f"asks for {each.output:,} tokens at once (QWEN_CODE_MAX_OUTPUT_TOKENS), and vLLM refuses more than its window of {window:,}"
    return ""


def _codex(facts: Facts) -> Iterator[Pointer]:
    import tomllib

    path = codex.config_files(facts.environ, facts.cwd)[0]
    text = text_of(path)
    try:
        said: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        yield Pointer(
            "codex",
            path,
            _first_url(text),
            key=PREFIX if PREFIX in text else "",
            against=f"does not start with that: {error}",
        )
        return
    name = said.get("model_provider")
    rows = said.get("model_providers")
    row = rows.get(name) if isinstance(rows, dict) and isinstance(name, str) else None
    if not isinstance(row, dict) or name in _BUILT_IN:
        return
    against = 'speaks wire_api = "chat", which Codex has given up: "responses"' if row.get("wire_api") == "chat" else ""
    yield Pointer(
        "codex", path, _text(row, "base_url"), _text(said, "model"), variable=_text(row, "env_key"), against=against
    )


def _first_url(text: str) -> str:
    found = re.search(r"https?://[^\s\"']+", text)
    return found[0] if found else ""


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _opencode(facts: Facts) -> Iterator[Pointer]:
    files = opencode_files.read(facts.environ, facts.cwd)
    chosen = next((model for said in reversed(files.values()) if (model := _text(said, "model"))), "")
    name, _, model = chosen.partition("/")
    for path, said in files.items():
        rows = said.get("provider")
        row = rows.get(name) if isinstance(rows, dict) else None
        options = row.get("options") if isinstance(row, dict) else None
        if isinstance(options, dict):
            key = _text(options, "apiKey")
            named = _REFERENCE.fullmatch(key)
            yield Pointer(
                "opencode", path, _text(options, "baseURL"), model,
                key="" if named or key.startswith("{") else key, variable=named[1] if named else "",
            )  # fmt: skip


def _qwen(facts: Facts) -> Iterator[Pointer]:
    home, found = home_of(facts.environ), {}
    for path in qwen.settings_files(facts.environ, facts.cwd):
        said = jsonc(text_of(path))
        if said:
            found[path] = said
    given = {name: value for name, value in facts.environ.items() if name.startswith("OPENAI_") and value}
    source = "this shell"
    for path in (os.path.join(facts.cwd, ".qwen", ".env"), os.path.join(facts.cwd, ".env"), os.path.join(home, ".qwen", ".env"), os.path.join(home, ".env")):  # fmt: skip
        rows = dict(_ASSIGNED.findall(text_of(path)))
        if rows:
            source = source if given.get("OPENAI_BASE_URL") else path
            given = {**rows, **given}
            break
    if not found and source == "this shell":
        return  # nothing of Qwen Code's is here
    against = ""
    for path, said in found.items():
        login = said.get("security", {}).get("auth", {}) if isinstance(said.get("security"), dict) else {}
        chosen = login.get("selectedType") if isinstance(login, dict) else None
        if chosen not in {None, "openai"}:
            against, source = (
                f"is told to log in by {chosen}: it then does not ask {given.get('OPENAI_BASE_URL')}",
                path,
            )
    yield Pointer(
        "qwen", source, given.get("OPENAI_BASE_URL", ""), given.get("OPENAI_MODEL", ""),
        key=given.get("OPENAI_API_KEY", ""), against=against,
        output=_output(facts.environ, found.values(), given.get("OPENAI_MODEL", "")),
    )  # fmt: skip


def _output(environ: Mapping[str, str], settings: Iterable[dict[str, Any]], model: str) -> int:
    """What Qwen Code asks for at once, as 0.24.4 works it out; 0 for what the server thinks best."""
    text = "".join(map(json.dumps, settings))
    if "samplingParams" in text:
        return max(map(int, _MAX_TOKENS.findall(text)), default=0)
    said = environ.get("QWEN_CODE_MAX_OUTPUT_TOKENS", "")
    if said.isdecimal() and int(said):
        return int(said)
    name = model.rpartition("/")[2].lower()
    return next((tokens for begins, tokens in _OUTPUTS if re.match(begins, name)), 32_000)


CHECKS = (Check("client.agents", Hop.CLIENT, "Other agents' files that point at the stack can use it.", agents),)
