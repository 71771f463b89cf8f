"""From the facts to the lanes: a running stack's, a planned one's, an address's, a hand-written LiteLLM file's."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stackctl import addresses, redact, sockets
from stackctl.checks import litellm_process, target
from stackctl.checks.endpoints import Endpoint, Lane
from stackctl.checks.litellm_file import looked_up, with_base
from stackctl.config import EMBEDDED
from stackctl.plan import EnginePlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.checks.factsheet import Facts
    from stackctl.planning import Prepared

LITELLM = "http://127.0.0.1:4000"  # where LiteLLM listens when nobody says otherwise
_TEXT = frozenset({"chat", "completion", "responses"})  # modes of LiteLLM's
_TIER = "claude-sonnet-4-6"  # one of Claude Code's own
_CLIENT_KEYS = ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "LITELLM_MASTER_KEY", "OPENAI_API_KEY")


def build(facts: Facts, *, key: str | None, keys: Mapping[str, str]) -> tuple[Lane, ...]:
    """The lanes. `key` was given on the command line, `keys` are those of the running processes by variable."""
    if facts.hand_file is not None:
        return _hand(facts, key)
    if facts.url_target is not None:
        return _address(facts, key)
    return _own(facts, keys)


def _own(facts: Facts, keys: Mapping[str, str]) -> tuple[Lane, ...]:
    """The lanes of our own stack, one for each engine: as planned, with the keys of the processes that run.

    None leads to a provider: asking there costs money.
    """
    if facts.prepared is None:
        return ()
    plan = facts.prepared.plan
    first = {plan.engine.name: ("default", plan.client_model)}
    for route in plan.routes:
        if isinstance(route.to, EnginePlan):
            first.setdefault(route.to.name, (route.name, route.model))
    for each in plan.engines:
        first.setdefault(each.name, (each.name, each.served))
    found = tuple(_lane(facts, facts.prepared, each, *first[each.name], keys) for each in plan.engines)
    if facts.running:
        return found
    # of a stack that does not run, an engine elsewhere can be asked all the same
    return tuple(replace(each, gateway=None) for each in found if each.engine is not None and not each.engine.managed)


def _lane(
    facts: Facts, prepared: Prepared, engine: EnginePlan, route: str, model: str, keys: Mapping[str, str]
) -> Lane:
    gateway = prepared.plan.gateway
    key = keys.get(engine.key_variable) if gateway.argv else facts.client_key
    key = key or (keys.get("VLLM_API_KEY") if len(prepared.plan.engines) == 1 else None)
    named = prepared.loaded.engines[engine.name].api_key
    if named:
        key = facts.environ.get(named.removeprefix("env/")) or key
    client = facts.client
    window, served = engine.window, engine.served
    if client is not None:
        told = {each.engine: (each.window, each.served) for each in client.routes}
        told[prepared.plan.engine.name] = (client.window, client.served)
        window, served = told.get(engine.name, (window, served))
    services = facts.state.services if facts.running and facts.state is not None else ()
    if engine.managed:
        served = next((each.model for each in services if each.name == engine.service and each.model), served)
    shared: dict[str, Any] = {
        "served": served,
        "window": window,
        "tool_parser": engine.tool_parser,
        "reasoning_parser": engine.reasoning_parser,
        "vision": engine.fit is not None and engine.fit.size.vision,
        "embedded": engine.model == EMBEDDED and served == engine.served,
    }
    ports = {each.name: each.port for each in services}  # of what runs, whatever its file says by now
    at = f"http://127.0.0.1:{ports[engine.service]}" if engine.managed and ports.get(engine.service) else engine.url
    in_front = facts.state.gateway_url if facts.running and facts.state is not None else gateway.url
    behind = Endpoint(
        "engine", engine.name, at, served,
        key=None if key == "none" else key, managed=engine.managed, **shared,
    )  # fmt: skip
    front = Endpoint(
        "gateway", gateway.kind, in_front or gateway.url, model,
        key=facts.client_key, managed=bool(gateway.argv), **shared,
    )  # fmt: skip
    return Lane(route, behind, front)


def client_key(environ: Mapping[str, str]) -> str | None:
    """The key that a client in this shell would send."""
    return next((environ[name] for name in _CLIENT_KEYS if environ.get(name)), None)


def _address(facts: Facts, key: str | None) -> tuple[Lane, ...]:
    """One server of unknown kind: it is asked what it is, unless nothing may be asked."""
    url = addresses.root(str(facts.url_target))
    key = key or client_key(facts.environ)
    seen = target.Seen() if facts.static else target.look(url, key)
    model = facts.flags.model or seen.model
    end = Endpoint(
        "engine" if seen.kind == "vllm" else "gateway", seen.kind or "server", url, model,
        key=key, served=model, window=seen.window,
    )  # fmt: skip
    return (Lane(model or "default", end, None) if seen.kind == "vllm" else Lane(model or "default", None, end),)


def litellm(facts: Facts) -> str:
    """Where the LiteLLM of a hand-written file is."""
    return facts.url_target or LITELLM


def _hand(facts: Facts, key: str | None) -> tuple[Lane, ...]:
    """A lane for each model name of a hand-written LiteLLM file; the first deployment of a name counts."""
    rows = (facts.hand_config or {}).get("model_list")
    asked = facts.url_target is not None or _listens(LITELLM)
    url = addresses.root(litellm(facts))
    environ = {**facts.environ, **(_environ_at(url, facts.hand_file) if asked else {})}
    general = (facts.hand_config or {}).get("general_settings")
    master = looked_up(general.get("master_key"), environ) if isinstance(general, dict) else None
    found: dict[str, Lane] = {}
    for row in _writing(rows if isinstance(rows, list) else []):
        params = row.get("litellm_params")
        if not isinstance(params, dict) or not isinstance(row.get("model_name"), str) or row["model_name"] in found:
            continue
        name, model = row["model_name"], str(params.get("model", "")).strip()
        base = looked_up(with_base(params).get("api_base"), environ)
        if "*" in name and base is None:
            continue  # any model of a provider's: nobody knows which, and each costs money
        handed_on = "*" in name and model.endswith("*")
        served = model.partition("/")[2] or model
        behind = None
        if isinstance(base, str) and not handed_on:
            at = addresses.root(base)
            sent = looked_up(params.get("api_key"), environ)
            wanted = sent is None and asked and not facts.static and target.wants_key(at)
            sent = _by_itself(model, environ) if wanted else sent
            if sent is not None or not wanted:
                behind = Endpoint("engine", name, at, served, key=sent, served=served)
        front = Endpoint(
            "gateway", name, url, _asked_by(name), key=key or master or client_key(facts.environ), served=served,
            hosted=base is None, by=model.partition("/")[0],
        )  # fmt: skip
        found[name] = Lane(name, behind, front if asked else None)
    return tuple(found.values())


def _writing(rows: list[Any]) -> list[Any]:
    """The rows of models that write text, which alone can be asked; all where none seems to."""
    found = [each for each in rows if isinstance(each, dict) and _writes(each)]
    return found or [each for each in rows if isinstance(each, dict)]


def _writes(row: dict[str, Any]) -> bool:
    info, params = row.get("model_info"), row.get("litellm_params")
    mode = info.get("mode") if isinstance(info, dict) else None
    if isinstance(mode, str):
        return mode in _TEXT
    return not isinstance(params, dict) or target.writes(f"{row.get('model_name')} {params.get('model')}")


def _asked_by(name: str) -> str:
    """A name that a client may ask for, and that the pattern of a row takes."""
    if "*" not in name:
        return name
    return _TIER if fnmatch.fnmatchcase(_TIER, name) else name.replace("*", "x")


def _listens(url: str) -> bool:
    port = addresses.parts(url).port
    return any(each.port == port for each in sockets.listening())


def _environ_at(url: str, file: str | None) -> Mapping[str, str]:
    """What a LiteLLM that reads the file was started with, in another shell perhaps; of any other server the secrets."""
    found = litellm_process.reading(url, file) if file else None
    if found is not None:
        return found.environ
    place = addresses.parts(url)
    holder = sockets.holder(place.hostname or "", place.port) if place.port else None
    return redact.secrets_by_name(holder.pid) if holder is not None and holder.pid is not None else {}


def _by_itself(model: str, environ: Mapping[str, str]) -> str | None:
    """The key that LiteLLM takes from its environment where a deployment has none (1.106.2)."""
    names = {"anthropic": ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"), "hosted_vllm": ("HOSTED_VLLM_API_KEY",)}
    found = names.get(model.partition("/")[0], ())
    return next((environ[each] for each in found if environ.get(each)), None)
