"""Checks of a hand-written litellm_config.yaml: values that LiteLLM does not take, and settings that get in an agent's way."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from stackctl.catalog import litellm
from stackctl.checks import answers
from stackctl.checks.handmade import file
from stackctl.checks.litellm_file import REFERENCE, looked_up
from stackctl.clients.claude_names import KEY_HEADERS
from stackctl.model import Status
from stackctl.plan.fit import FLOOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

NAMES = (
    "configuration.hand-values", "configuration.hand-drops", "configuration.hand-headers", "configuration.hand-mocks",
    "configuration.hand-blanks", "configuration.hand-overruled", "configuration.hand-key-header",
)  # fmt: skip
_NEEDED = frozenset({"tools", "tool_choice", "messages", "system", "stream", "max_tokens"})
_DUMMY = 16  # characters: a shorter key is one of a guide's, for a server that asks none


def values(facts: Facts) -> Iterator[Finding]:
    """Values are of the kind that LiteLLM reads there: it dies of some, and fails every request for others."""
    config = facts.hand_config or {}
    known = litellm.known()
    given = [
        (f"{section}.{key}", f"{section}.{key}", file.section(config, section).get(key))
        for section, keys in known.numbers.items()
        for key in keys
    ]
    texts = [("general_settings.master_key", file.section(config, "general_settings").get("master_key"))]
    for number, name, params in file.named(facts.hand_config):
        place = f"model_list.{number}.litellm_params"
        given += [(f"{name}: {key}", f"{place}.{key}", params.get(key)) for key in known.row_numbers]
        texts.append((f"{name}: api_key", params.get("api_key")))
    for path, place, value in given:
        if isinstance(value, str) and not value.startswith(REFERENCE) and not _number(value):
            yield _wrong(path, value, "a number (of seconds, where it is a time)", place)
    for path, value in texts:
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield wrong(path, "a number", "a text: put it into quotes")
    strategy = file.section(config, "router_settings").get("routing_strategy")
    if isinstance(strategy, str) and strategy not in known.routing_strategies:
        path = "router_settings.routing_strategy"
        yield _wrong(path, strategy, f"one of {', '.join(known.routing_strategies)}", path)


def _wrong(path: str, said: str, wants: str, place: str) -> Finding:
    shown = (f"{path}: {said}",)
    return answers.finding(
        "configuration.wrong-value", Status.FAIL, shown, path=path, said=said, wants=wants, place=place
    )


def wrong(path: str, said: str, wants: str) -> Finding:
    """The finding for a value that is of another kind, and that no program can put right."""
    return dataclasses.replace(_wrong(path, said, wants, ""), fix="")


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def licences(facts: Facts) -> Iterator[Finding]:
    """Nothing is asked for that LiteLLM starts with for a licence only."""
    config = facts.hand_config or {}
    if facts.environ.get("LITELLM_LICENSE") or "LITELLM_LICENSE" in file.section(config, "environment_variables"):
        return
    general, licensed = file.section(config, "general_settings"), litellm.known().licensed
    found = [f"general_settings.{key}" for key in licensed["general_settings"] if general.get(key) is not None]
    named = file.section(config, "litellm_settings").get("callbacks")
    named = named if isinstance(named, list) else [named]
    found += [f"litellm_settings.callbacks: {each}" for each in named if each in licensed["callbacks"]]
    for path in found:
        told = answers.finding("configuration.licensed", Status.FAIL, (path,), path=path)
        yield told if ":" not in path else dataclasses.replace(told, fix="")


def blanks(facts: Facts) -> Iterator[Finding]:
    """No blank stands before or behind a name, an address or a key: LiteLLM takes it for a part of it."""
    for number, name, params in file.named(facts.hand_config):
        for key in ("model", "api_base", "api_key"):
            said = params.get(key)
            if isinstance(said, str) and said != said.strip() and said.strip():
                place = f"model_list.{number}.litellm_params.{key}"
                found = answers.finding(
                    "configuration.stray-blank", Status.FAIL, (f"{name}: {key}",), name=name, key=key, place=place, kept=said.strip(),
                )  # fmt: skip
                yield found if key != "api_key" else dataclasses.replace(found, fix="")  # no key is shown


def overruled(facts: Facts) -> Iterator[Finding]:
    """A row has one provider: custom_llm_provider beats the one before the model's name."""
    for number, name, params in file.named(facts.hand_config):
        provider, slash, _ = str(params.get("model", "")).partition("/")
        other = params.get("custom_llm_provider")
        if slash and isinstance(other, str) and other != provider and provider in litellm.known().providers:
            place = f"model_list.{number}.litellm_params.custom_llm_provider"
            shown = (f"{name}: model: {params['model']}, custom_llm_provider: {other}",)
            yield answers.finding(
                "configuration.two-providers",
                Status.FAIL,
                shown,
                name=name,
                provider=provider,
                other=other,
                place=place,
            )


def mocks(facts: Facts) -> Iterator[Finding]:
    """No row answers by itself, in its model's place."""
    for number, name, params in file.named(facts.hand_config):
        if params.get("mock_response") is not None:
            place = f"model_list.{number}.litellm_params.mock_response"
            shown = (f"{name}: mock_response",)
            yield answers.finding("configuration.mock", Status.FAIL, shown, name=name, place=place)


def drops(facts: Facts) -> Iterator[Finding]:
    """No row drops what an agent cannot do without."""
    for number, name, params in file.named(facts.hand_config):
        given = params.get("additional_drop_params")
        lost = sorted(_NEEDED & {str(each) for each in given}) if isinstance(given, list) else []
        if lost:
            found = answers.finding(
                "configuration.drops", Status.FAIL, (f"{name}: additional_drop_params: {', '.join(lost)}",),
                name=name, lost=", ".join(lost), place=f"model_list.{number}.litellm_params.additional_drop_params",
            )  # fmt: skip
            yield found if len(lost) == len(given or []) else dataclasses.replace(found, fix="")  # the others stay


def headers(facts: Facts) -> Iterator[Finding]:
    """No header of a row takes the place of its key."""
    for number, name, params in file.named(facts.hand_config):
        key = looked_up(params.get("api_key"), facts.environ)
        given = file.section(params, "extra_headers")
        header = next((each for each in map(str, given) if each.lower() in KEY_HEADERS), "")
        sent = given.get(header)
        if not isinstance(sent, str) or sent.startswith(REFERENCE) or key is None or len(key) < _DUMMY:
            continue
        if sent.removeprefix("Bearer ").strip() != key:
            place = f"model_list.{number}.litellm_params.extra_headers.{header}"
            shown = (f"{name}: extra_headers.{header}",)
            yield answers.finding("configuration.header-key", Status.FAIL, shown, name=name, place=place)


def key_header(facts: Facts) -> Iterator[Finding]:
    """LiteLLM reads its key from a header that clients send."""
    header = file.section(facts.hand_config or {}, "general_settings").get("litellm_key_header_name")
    if not isinstance(header, str) or header.lower() in KEY_HEADERS:
        return
    if header.lower() not in facts.environ.get("ANTHROPIC_CUSTOM_HEADERS", "").lower():
        shown = (f"general_settings.litellm_key_header_name: {header}",)
        yield answers.finding("configuration.key-header", Status.FAIL, shown, header=header)


def windows(facts: Facts) -> Iterator[Finding]:
    """LiteLLM is told of a window that holds an agent's first request, where it refuses what is longer."""
    if file.section(facts.hand_config or {}, "router_settings").get("enable_pre_call_checks") is not True:
        return
    for number, row, _ in file.rows(facts.hand_config):
        name = file.name_of(number, row)
        said = file.section(row, "model_info").get("max_input_tokens")
        if isinstance(said, int) and 0 < said < FLOOR:
            shown = (f"{name}: model_info.max_input_tokens: {said}", "router_settings.enable_pre_call_checks: true")
            yield answers.finding("configuration.small-window", Status.FAIL, shown, name=name, said=said, least=FLOOR)


def cache(facts: Facts) -> Iterator[Finding]:
    """LiteLLM repeats no answers."""
    settings = file.section(facts.hand_config or {}, "litellm_settings")
    params = file.section(settings, "cache_params")
    calls = params.get("supported_call_types")
    if settings.get("cache") is not True or params.get("mode") == "default_off":
        return
    if not isinstance(calls, list) or {"anthropic_messages", "acompletion", "completion"} & set(calls):
        shown = (f"litellm_settings.cache: true ({params.get('type', 'local')})",)
        yield answers.finding("configuration.cache", Status.WARN, shown)


CHECKS = (
    file.check("hand-values", "Values are of the kind that LiteLLM reads there.", values),
    file.check("hand-licences", "Nothing needs a licence.", licences),
    file.check("hand-drops", "No row drops what an agent needs.", drops),
    file.check("hand-headers", "No header takes the place of a key.", headers),
    file.check("hand-blanks", "No blank is part of a name, an address or a key.", blanks),
    file.check("hand-overruled", "Each row has one provider.", overruled),
    file.check("hand-mocks", "Models answer, and not the file.", mocks),
    file.check("hand-key-header", "LiteLLM reads its key where clients send it.", key_header),
    file.check("hand-windows", "LiteLLM's own limits hold an agent's first request.", windows),
    file.check("hand-cache", "LiteLLM repeats no answers.", cache),
)
