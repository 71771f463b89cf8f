"""Checks of a hand-written litellm_config.yaml: rows that lead nowhere, or not where they seem to."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING, Any

from stackctl import addresses
from stackctl.checks import answers, target
from stackctl.checks.check import Check, Hop
from stackctl.checks.handmade import file
from stackctl.checks.lanes import litellm
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

_ENDPOINT = re.compile(r"/(?:chat/completions|completions|messages|responses|models)$")
_TAKEN = {
    "hosted_vllm": "/chat/completions",
    "anthropic": "/v1/messages",
}  # whole ones that LiteLLM 1.106.2 leaves as they are
_HERE = addresses.LOOPBACK | {"0.0.0.0"}
_PARAMS = ("model", "api_base", "api_key")
_LARGEST = 1 << 20
_CONNECT = 2.0  # seconds
DEPLOYMENTS = "engine.deployments"
_CALLBACKS = ("callbacks", "success_callback", "failure_callback", "audit_log_callbacks")


def endpoints(facts: Facts) -> Iterator[Finding]:
    """An api_base is where the API begins, and not an endpoint that LiteLLM would put another one behind."""
    for _, name, params in file.named(facts.hand_config):
        provider, base = str(params.get("model", "")).partition("/")[0], params.get("api_base")
        path = addresses.parts(base).path.rstrip("/") if isinstance(base, str) else ""
        found = _ENDPOINT.search(path)
        if found is None or provider not in _TAKEN or path.endswith(_TAKEN[provider]):
            continue
        root = str(base).rstrip("/").removesuffix(found.group())
        yield answers.finding(
            "configuration.base-endpoint", Status.FAIL, (f"{name}: api_base: {base}",), name=name, endpoint=found.group(),
            base=root.removesuffix("/v1") if provider == "anthropic" else root,
        )  # fmt: skip


def shape(facts: Facts) -> Iterator[Finding]:
    """What is said of a model stands under its litellm_params, where LiteLLM looks for it."""
    for number, row, params in file.rows(facts.hand_config):
        name = file.name_of(number, row)
        misplaced = [key for key in _PARAMS if key in row]
        if not params:
            shown = [f"{name}: {key} stands beside model_name" for key in misplaced] or [f"{name}: no litellm_params"]
            yield answers.finding("configuration.row-params", Status.FAIL, shown, name=name)
            continue
        beside = [each for each in misplaced if each not in params]
        if beside:
            shown = [f"{name}: {key} stands beside litellm_params" for key in beside]
            keys = "` and `".join(beside)
            yield answers.finding("configuration.row-beside", Status.FAIL, shown, name=name, key=keys)


def passed_over(facts: Facts) -> Iterator[Finding]:
    """An address stands where LiteLLM reads it: of anthropic/ it knows api_base alone."""
    for _, name, params in file.named(facts.hand_config):
        base = params.get("base_url")
        if base and not params.get("api_base") and str(params.get("model", "")).startswith("anthropic/"):
            shown = (f"{name}: base_url: {base}",)
            yield answers.finding("configuration.base-url", Status.FAIL, shown, name=name, base=base)


def generates(facts: Facts) -> Iterator[Finding]:
    """No agent's model is asked by an API that has no tools: `ollama/` is Ollama's /api/generate."""
    for _, row, params in file.rows(facts.hand_config):
        provider, _, served = str(params.get("model", "")).partition("/")
        if (
            provider == "ollama"
            and file.section(row, "model_info").get("mode") in {None, "chat"}
            and target.writes(served)
        ):
            name = str(row.get("model_name"))
            shown = (f"{name}: model: ollama/{served}",)
            yield answers.finding(
                "configuration.ollama-generate", Status.WARN, shown, name=name, served=served, blocks=False
            )


def loops(facts: Facts) -> Iterator[Finding]:
    """No row leads back to LiteLLM itself."""
    own = addresses.parts(litellm(facts))
    for _, name, params in file.named(facts.hand_config):
        base = params.get("api_base")
        at = addresses.parts(base if isinstance(base, str) else "")
        near = at.hostname == own.hostname or {at.hostname, own.hostname} <= _HERE
        if at.hostname and near and at.port == own.port:
            status = Status.FAIL if facts.url_target else Status.WARN  # else --port may have given it another
            yield answers.finding(
                "configuration.row-loops", status, (f"{name}: api_base: {base}",), name=name, base=base, blocks=False
            )


def wildcards(facts: Facts) -> Iterator[Finding]:
    """A name that clients ask for is not handed to an engine that has another."""
    for _, name, params in file.named(facts.hand_config):
        model, base = str(params.get("model", "")), params.get("api_base")
        if isinstance(base, str) and base and "*" in name and model.endswith("*"):
            yield answers.finding(
                "configuration.name-handed-on", Status.WARN, (f"{name}: model: {model}",),
                name=name, provider=model.partition("/")[0], blocks=False,
            )  # fmt: skip


def own_code(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Code that is not LiteLLM's, and that runs within each request: (where it is named, `module.name`)."""
    settings, general = file.section(config, "litellm_settings"), file.section(config, "general_settings")
    named: list[tuple[str, Any]] = []
    for key in _CALLBACKS:
        given = settings.get(key)
        named += [(f"litellm_settings.{key}", each) for each in (given if isinstance(given, list) else [given])]
    named.append(("general_settings.custom_auth", general.get("custom_auth")))
    guards = config.get("guardrails")
    for each in guards if isinstance(guards, list) else []:
        params = file.section(each, "litellm_params") if isinstance(each, dict) else {}
        named.append(("guardrails", params.get("guardrail")))
    return [
        (path, value)
        for path, value in named
        if isinstance(value, str) and "." in value and "://" not in value and not value.startswith("litellm.")
    ]


def hooks(facts: Facts) -> Iterator[Finding]:
    """Code that the file names lies beside it, where LiteLLM looks first."""
    if facts.hand_file is None:
        return
    named = own_code(facts.hand_config or {})
    folder = os.path.dirname(os.path.abspath(facts.hand_file))
    for path, value in named:
        module = os.path.join(folder, *value.split(".")[:-1])
        if not os.path.exists(module + ".py"):
            yield answers.finding(
                "configuration.hook-gone",
                Status.WARN,
                (f"{path}: {value}",),
                said=value,
                file=f"{module}.py",
                blocks=False,
            )


def once(facts: Facts) -> Iterator[Finding]:
    """No key stands twice in one mapping: YAML's readers keep the last and say nothing."""
    import yaml

    if facts.hand_file is None:
        return
    with open(facts.hand_file, "rb") as stream:
        waiting = [(yaml.compose(stream.read(_LARGEST), Loader=yaml.SafeLoader), "")]
    seen: set[int] = set()  # anchors make one node stand in several places, or in itself
    while waiting:
        node, path = waiting.pop(0)
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(each, f"{path}[{number}]") for number, each in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                word, line = str(key.value), key.start_mark.line + 1
                full = f"{path}.{word}".lstrip(".")
                if word in lines and word != "<<":
                    shown = (f"line {lines[word]}: {word}", f"line {line}: {word}")
                    yield answers.finding(
                        "configuration.key-twice", Status.FAIL, shown, key=full, line=line, first=lines[word]
                    )
                lines[word] = line
                waiting.append((value, full))


def others(facts: Facts) -> Iterator[Finding]:
    """LiteLLM shares the requests for a name out among all its deployments: the others than the first are there too."""
    asked = {(*addresses.place(lane.engine.url), lane.engine.model) for lane in facts.lanes if lane.engine}
    first = {lane.route: lane.engine for lane in facts.lanes}
    for _, name, params in file.named(facts.hand_config):
        base, served = params.get("api_base"), str(params.get("model", "")).strip().partition("/")[2]
        place = (*addresses.place(base.strip() if isinstance(base, str) else ""), served)
        if not place[0] or place in asked:
            continue
        asked.add(place)
        try:
            socket.create_connection(place[:2], timeout=_CONNECT).close()
        except OSError as error:
            shown = f"{name}: api_base: {base}: {error.strerror or error}"
            yield answers.finding("engine.deployment-away", Status.FAIL, (shown,), name=name, base=base)
            continue
        one = first.get(name)
        listed = target.models(addresses.root(str(base)), one.key if one else None)
        if listed and served not in listed and "*" not in served:
            yield answers.finding(
                "engine.deployment-model", Status.FAIL, (f"GET {base}: {', '.join(listed[:8])}",),
                name=name, base=base, model=served, names=", ".join(f"`{each}`" for each in listed[:8]),
            )  # fmt: skip


CHECKS = (
    file.check("shape", "What is said of a model stands under its litellm_params.", shape),
    file.check("passed-over", "Each address stands where LiteLLM reads it.", passed_over),
    file.check("endpoints", "No address names an endpoint.", endpoints),
    file.check("generates", "Each model is asked by an API that has tools.", generates),
    file.check("loops", "No row leads back to LiteLLM itself.", loops),
    file.check("wildcards", "No engine is asked for a name that it does not have.", wildcards),
    Check(
        DEPLOYMENTS,
        Hop.ENGINE,
        "Every deployment of a name is there.",
        others,
        ("configuration.file",),
        live=True,
        seconds=15,
    ),
    file.check("hooks", "Code that the file names is there.", hooks),
)
