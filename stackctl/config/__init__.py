"""`stack.yaml` + environment + flags -> StackConfig, each value knowing its origin.

Precedence: flag, environment variable, file, default. The file is `--config`, else `./stack.yaml` once trusted, else
the one in the user's configuration directory, else none: an empty file is a whole configuration.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import msgspec

from stackctl import shapes, trust
from stackctl.config import words
from stackctl.config.check import check, default_engine
from stackctl.config.types import (
    CLIENT_MODEL,
    DEFAULT_ROUTE,
    EMBEDDED,
    TIERS,
    EngineConfig,
    Flags,
    GatewayConfig,
    HostedConfig,
    Loaded,
    StackConfig,
    asked_as,
)
from stackctl.errors import ConfigError
from stackctl.model import Fact
from stackctl.names import check_name, config_file
from stackctl.yamlfile import load_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLIENT_MODEL",
    "DEFAULT_ROUTE",
    "EMBEDDED",
    "TIERS",
    "EngineConfig",
    "Flags",
    "GatewayConfig",
    "HostedConfig",
    "Loaded",
    "StackConfig",
    "asked_as",
    "load",
]

S = TypeVar("S", bound=msgspec.Struct)


def load(flags: Flags, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read, merge and check the configuration.

    Raises ConfigError with the key, its path and the nearest valid one for whatever cannot be used.
    """
    environ = os.environ if environ is None else environ
    source, named = config_file(flags.config, environ)
    raw: dict[str, Any] = {}
    facts: dict[str, Fact] = {}
    if source is not None:
        raw, lines = load_yaml(source, trust.content(source, named=named))
        shown = os.path.basename(source)
        facts = {path: Fact(path, "", "file", f"{shown}:{line}") for path, line in lines.items()}
    _overrides(raw, facts, flags, environ)
    config = _convert(raw, source or "the command line")
    engines = config.engines or {"main": EngineConfig(model=EMBEDDED)}
    first = default_engine(config, engines)
    check(config, engines, facts)
    return Loaded(config, {first: engines[first], **engines}, source, facts)


def _overrides(raw: dict[str, Any], facts: dict[str, Fact], flags: Flags, environ: Mapping[str, str]) -> None:
    """Lay flags and environment variables over what the file said."""

    def put(path: str, flag: tuple[str, Any], variable: str = "") -> None:
        option, value = flag
        origin = Fact(path, "", "flag", option)
        if value is None and variable:
            value, origin = environ.get(variable) or None, Fact(path, "", "environment", variable)
        if value is None:
            return
        *parents, leaf = path.split(".")
        where = raw
        for parent in parents:
            where = where.setdefault(parent, {})
            if not isinstance(where, dict):
                return  # the type check says it better
        where[leaf] = value
        facts[path] = origin

    put("name", ("--name", flags.name), "STACKCTL_NAME")
    put("gateway.kind", ("--gateway", flags.gateway), "STACKCTL_GATEWAY")
    put(f"engines.{_answers_by_default(raw)}.model", ("--model", flags.model), "STACKCTL_MODEL")
    if flags.allow_untested:
        put("allow_untested", ("--allow-untested", True))


def _answers_by_default(raw: dict[str, Any]) -> str:
    """The engine that `--model` is about, before anything is checked."""
    engines, routes = raw.get("engines"), raw.get("routes")
    if not isinstance(engines, dict) or not engines:
        return "main"
    wanted = routes.get(DEFAULT_ROUTE) if isinstance(routes, dict) else None
    return str(wanted if isinstance(wanted, str) and wanted in engines else next(iter(engines)))


def _convert(raw: dict[str, Any], where: str) -> StackConfig:
    """Type-check `raw` part by part, so that an error names the exact path."""
    _known_keys(raw, StackConfig, "", where)
    engines_raw = raw.get("engines", {})
    if not isinstance(engines_raw, dict):
        raise ConfigError(
            f"{where}: `engines` must map names to engines, not {words.kind(engines_raw)}",
            remedy="write it as  engines: {main: {model: ...}}",
        )
    engines: dict[str, EngineConfig] = {}
    for name, value in engines_raw.items():
        path = f"engines.{name}"
        check_name(str(name), what=f"{where}: the engine name")
        _known_keys(value, EngineConfig, path, where)
        engines[name] = _one(value, EngineConfig, path, where)
    gateway_raw = raw.get("gateway", {})
    _known_keys(gateway_raw, GatewayConfig, "gateway", where)
    gateway = _one(gateway_raw, GatewayConfig, "gateway", where)
    rest = _one({k: v for k, v in raw.items() if k not in {"engines", "gateway", "routes"}}, StackConfig, "", where)
    return msgspec.structs.replace(rest, engines=engines, gateway=gateway, routes=_routes(raw.get("routes", {}), where))


def _routes(raw: object, where: str) -> dict[str, str | HostedConfig]:
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{where}: `routes` must map names to engines, not {words.kind(raw)}",
            remedy="write it as  routes: {default: main}",
        )
    routes: dict[str, str | HostedConfig] = {}
    for name, to in raw.items():
        path = f"routes.{name}"
        if isinstance(to, dict):
            _known_keys(to, HostedConfig, path, where)
            routes[str(name)] = _one(to, HostedConfig, path, where)
        elif isinstance(to, str):
            routes[str(name)] = to
        else:
            raise ConfigError(
                f"{where}: `{path}` must be an engine's name or a hosted model, not {words.kind(to)}",
                remedy=f"write  {name}: ENGINE  or  {name}: {{hosted: provider/model, api_key: env/MY_KEY}}",
            )
    return routes


def _known_keys(value: object, struct: type[msgspec.Struct], path: str, where: str) -> None:
    if not isinstance(value, dict):
        raise ConfigError(
            f"{where}: `{path}` must be a mapping, not {words.kind(value)}",
            remedy=f"see the keys of `{path}` in the README",
        )
    known = struct.__struct_fields__
    for key in value:
        if key in known:
            continue
        full = f"{path}.{key}" if path else str(key)
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"the keys here are: {', '.join(known)}"
        if not near and path.startswith("engines."):
            hint += "; vLLM's own flags go under `args`"
        raise ConfigError(f"{where}: unknown key `{full}`", remedy=hint)


def _one(value: object, struct: type[S], path: str, where: str) -> S:
    try:
        return shapes.convert(value, struct)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at `$")
        at = at.rstrip("`").lstrip(".")
        full = ".".join(part for part in (path, at) if part)
        said = value.get(at) if isinstance(value, dict) else None
        known = get_args(get_type_hints(struct).get(at)) if reason.startswith("Invalid enum value") else ()
        if known:
            may = " or ".join(words.choices(known))
            raise ConfigError(
                f"{where}: `{full}` is {said!r}, and may be {may}", remedy=words.nearest(at, said, known)
            ) from error
        raise ConfigError(
            f"{where}: `{full}`: {words.plain(reason)}", remedy=words.example(struct, at, full, said)
        ) from error
