"""Checks of a `litellm_config.yaml` that somebody wrote by hand: what makes Claude Code fail behind LiteLLM 1.106."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from typing import TYPE_CHECKING, Any

from stackctl import addresses
from stackctl.catalog import litellm
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.handmade import dotenv, file, rows, running, spelling, values
from stackctl.checks.litellm_file import REFERENCE
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_PATIENCE = 300  # seconds that a local model may think before its first token
_SECRET = re.compile(r"(?:api_key|master_key|password|token|secret)$", re.IGNORECASE)
_SELF_HOSTED = ("hosted_vllm/", "openai/", "vllm/", "openai_like/", "litellm_proxy/")
_HOSTS = ("api.anthropic.com", "api.openai.com")


def _models(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """(model_name, litellm_params, model_info) of each row that has a name."""
    return [
        (str(row["model_name"]), params, file.section(row, "model_info"))
        for _, row, params in file.rows(config)
        if row.get("model_name")
    ]


def _local(params: Mapping[str, Any]) -> bool:
    """Whether a row is about a server of one's own, and not a provider's."""
    return isinstance(params.get("api_base"), str) and addresses.parts(params["api_base"]).hostname not in _HOSTS


def readable(facts: Facts) -> Iterator[Finding]:
    """The file can be read, and its sections are LiteLLM's."""
    if facts.hand_config is None:
        error = facts.load_error
        said = error.message if error is not None else str(facts.hand_file)
        yield answers.finding("configuration.unreadable", Status.FAIL, (said,), said=said)
        return
    yield from rows.once(facts)
    misspelt = []
    for key in facts.hand_config:
        near = difflib.get_close_matches(str(key), litellm.known().sections, n=1, cutoff=0.75)
        if key not in litellm.known().sections and near:
            yield answers.finding("configuration.unknown-section", Status.FAIL, (f"{key}:",), key=key, near=near[0])
            misspelt.append(near[0])
    listed = facts.hand_config.get("model_list")
    if listed is not None and not isinstance(listed, list):
        yield values.wrong("model_list", "no list", "one: a - before each row")
    elif "model_list" not in misspelt and not _models(facts.hand_config):
        yield answers.finding("configuration.no-models", Status.FAIL, (str(facts.hand_file),))
    for name, params, _ in _models(facts.hand_config):
        base = params.get("api_base")
        if isinstance(base, str) and base.startswith("http") and not addresses.parts(base.strip()).hostname:
            said = f"the api_base of `{name}` is not an http address: {base}"
            yield answers.finding("configuration.unreadable", Status.FAIL, (said,), said=said)


def providers(facts: Facts) -> Iterator[Finding]:
    """Each row's provider and address fit together, for Claude Code's `/v1/messages`."""
    for name, params, info in _models(facts.hand_config or {}):
        model, base = str(params.get("model", "")), params.get("api_base")
        if not isinstance(base, str) or not _local(params):
            continue
        shown = (f"{name}: model: {model}, api_base: {base}",)
        path = addresses.parts(base).path.rstrip("/")
        endpoints = info.get("supported_endpoints")
        native = isinstance(endpoints, list) and "/v1/messages" in endpoints
        if model.startswith("anthropic/") and path.endswith("/v1"):
            yield answers.finding(
                "configuration.base-with-v1", Status.FAIL, shown, name=name, base=addresses.root(base)
            )
        if model.startswith(("hosted_vllm/", "openai/")) and path == "" and "://" in base and not native:
            yield answers.finding("configuration.base-without-v1", Status.FAIL, shown, name=name, base=base.rstrip("/"))
        if model.startswith("openai/") and not native:
            yield answers.finding(
                "configuration.openai-provider", Status.FAIL, shown, name=name, served=model.partition("/")[2]
            )
        elif model.partition("/")[0] not in litellm.known().providers or "/" not in model:
            provider = "hosted_vllm" if path.endswith("/v1") else "anthropic"
            found = answers.finding(
                "configuration.no-provider", Status.FAIL, shown, name=name, model=model or "nothing", provider=provider
            )
            yield found if model else dataclasses.replace(found, fix="")


def parameters(facts: Facts) -> Iterator[Finding]:
    """Parameters that the engine does not know are dropped."""
    config = facts.hand_config or {}
    dropped = file.is_true(file.section(config, "litellm_settings").get("drop_params"))
    rows = [
        name
        for name, params, _ in _models(config)
        if str(params.get("model", "")).startswith(_SELF_HOSTED) and not file.is_true(params.get("drop_params"))
    ]
    if rows and not dropped:
        yield answers.finding("configuration.drop-params", Status.FAIL, (f"rows: {', '.join(rows)}",))


def master_key(facts: Facts) -> Iterator[Finding]:
    """There is a master key, in the section that LiteLLM reads it from."""
    config = facts.hand_config or {}
    if "master_key" in file.section(config, "litellm_settings"):
        yield answers.finding("configuration.master-key-place", Status.FAIL, ("litellm_settings.master_key",))
    elif "master_key" not in file.section(config, "general_settings") and not facts.environ.get("LITELLM_MASTER_KEY"):
        yield answers.finding("configuration.no-master-key", Status.FAIL, ("general_settings.master_key is not there",))


def repeats(facts: Facts) -> Iterator[Finding]:
    """LiteLLM hides no error: it neither repeats requests nor rests the only engine after one."""
    config = facts.hand_config or {}
    if not any(_local(params) for _, params, _ in _models(config)):
        return
    router, settings = file.section(config, "router_settings"), file.section(config, "litellm_settings")
    tries = router.get("num_retries", settings.get("num_retries"))
    if tries != 0:
        shown = "not set (LiteLLM then repeats twice)" if tries is None else f"num_retries: {tries}"
        yield answers.finding("configuration.retries", Status.WARN, (shown,), blocks=False)
    rests = router.get("disable_cooldowns") is True or router.get("cooldown_time") == 0
    if not rests:
        yield answers.finding("configuration.cooldowns", Status.WARN, ("disable_cooldowns is not true",), blocks=False)


def patience(facts: Facts) -> Iterator[Finding]:
    """Requests may take as long as a local model thinks."""
    config = facts.hand_config or {}
    given = [
        (f"{section}.{key}", file.section(config, section).get(key))
        for section, key in (
            ("litellm_settings", "request_timeout"),
            ("router_settings", "timeout"),
            ("router_settings", "stream_timeout"),
        )
    ]
    for name, params, _ in _models(config):
        given += [(f"{name}: {key}", params.get(key)) for key in ("timeout", "stream_timeout")]
    short = [f"{where}: {value}" for where, value in given if isinstance(value, int | float) and 0 < value < _PATIENCE]
    if short:
        yield answers.finding("configuration.timeout", Status.WARN, short, shown=short[0], blocks=False)


def secrets(facts: Facts) -> Iterator[Finding]:
    """Keys are references to the environment, and the variables are set."""
    literal, missing = [], []
    found = running.process(facts)  # what a LiteLLM that runs was started with counts, and not this shell
    environ, where = (found.environ, "where LiteLLM was started") if found else (facts.environ, "in this shell")
    read = {name for place in _places(facts) for name in dotenv.names(os.path.join(place, ".env"))}
    for path, _, value in file.texts(facts.hand_config or {}):
        if value.startswith(REFERENCE):
            if not environ.get(value.removeprefix(REFERENCE)):
                missing.append((path, value.removeprefix(REFERENCE)))
        elif _SECRET.search(path) and len(value) >= 12 and not spelling.is_variable(value):
            literal.append(path)
    own = file.section(facts.hand_config or {}, "environment_variables")
    for path, variable in missing:
        if variable not in own and not (found and variable in read):
            yield answers.finding(
                "configuration.missing-variable", Status.FAIL, (path,), variable=variable, path=path, where=where
            )
    if literal:
        yield answers.finding("configuration.literal-key", Status.WARN, literal, path=literal[0], blocks=False)


def _places(facts: Facts) -> tuple[str, ...]:
    """Where LiteLLM looks for a .env file."""
    return (facts.cwd, os.path.dirname(os.path.abspath(facts.hand_file))) if facts.hand_file else ()


def names(facts: Facts) -> Iterator[Finding]:
    """Claude Code can find a model by name, aliases lead somewhere, and one name means one thing."""
    config = facts.hand_config or {}
    rows = _models(config)
    known = [name for name, _, _ in rows]
    aliases = file.section(file.section(config, "router_settings"), "model_group_alias")
    every = [*known, *map(str, aliases)]
    if rows and not any("claude" in name or "anthropic" in name or "*" in name for name in every):
        yield answers.finding("configuration.undiscoverable", Status.WARN, every[:5], first=known[0], blocks=False)
    for alias, target in aliases.items():
        to = target.get("model") if isinstance(target, dict) else target
        if to not in known and "*" not in known:
            near = difflib.get_close_matches(str(to), known, n=1) or (known if len(known) == 1 else [])
            found = answers.finding(
                "configuration.alias-target", Status.FAIL, (f"{alias}: {to}",), alias=alias, target=to,
                key=str(alias).replace(".", "\\."), near=near[0] if near else "",
            )  # fmt: skip
            yield found if near and target == to else dataclasses.replace(found, fix="")
    for name in sorted(set(known)):
        served = {str(params.get("model", "")).partition("/")[2] for each, params, _ in rows if each == name}
        if len(served) > 1:
            yield answers.finding(
                "configuration.two-meanings", Status.WARN, sorted(served), name=name, count=len(served), blocks=False
            )


def telemetry(facts: Facts) -> Iterator[Finding]:
    """Prompts go to nobody: no callback sends them to a service that is not yours."""
    settings = file.section(facts.hand_config or {}, "litellm_settings")
    sent = []
    for key in ("callbacks", "success_callback", "failure_callback"):
        given = settings.get(key)
        sent += [str(each) for each in (given if isinstance(given, list) else [given]) if given]
    away = [each for each in sent if each in litellm.known().services]
    if away:
        yield answers.finding("configuration.callbacks", Status.WARN, away, service=away[0], blocks=False)


CHECKS = (
    Check("configuration.file", Hop.CONFIG, "The file is one of LiteLLM's.", readable),
    file.check("providers", "Each model's provider and address fit together.", providers),
    file.check("parameters", "Unknown parameters are dropped.", parameters),
    file.check("master-key", "There is a master key where LiteLLM reads it.", master_key),
    file.check("repeats", "No retry and no cooldown hides an error.", repeats),
    file.check("patience", "Requests may take as long as a local model thinks.", patience),
    file.check("secrets", "Keys stand in the environment, and are set there.", secrets),
    file.check("names", "Model names are found, and mean one thing.", names),
    file.check("callbacks", "Prompts are sent to no other service.", telemetry),
)
