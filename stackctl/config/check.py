"""What the types of `stack.yaml` cannot say."""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING

from stackctl import addresses
from stackctl.config.types import (
    DEFAULT_ROUTE,
    EMBEDDED,
    TIERS,
    EngineConfig,
    HostedConfig,
    StackConfig,
    asked_as,
)
from stackctl.errors import ConfigError
from stackctl.names import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackctl.model import Fact

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+\[\]-]{0,127}")
_ENV_REFERENCE = re.compile(r"env/[A-Za-z_][A-Za-z0-9_]*")
_FLAG = re.compile(r"[a-z0-9][a-z0-9-]*")
_TAKEN = ("gateway", "supervisor")  # an engine's name is its service's and its log's where there are several
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def default_engine(config: StackConfig, engines: Mapping[str, EngineConfig]) -> str:
    """The engine that answers where nothing else is said: the only one, else the one that `routes.default` names."""
    wanted = config.routes.get(DEFAULT_ROUTE)
    if isinstance(wanted, HostedConfig):
        raise ConfigError(
            f"`routes.{DEFAULT_ROUTE}` is hosted: a stack is for a model of your own",
            remedy=f"name an engine there, e.g. `{next(iter(engines))}`, and give the hosted model another route: opus",
        )
    if wanted is None:
        if len(engines) > 1:
            raise ConfigError(
                f"there are {len(engines)} engines ({', '.join(engines)}), and no `routes.{DEFAULT_ROUTE}` says which one "
                "answers by default",
                remedy=f"write  routes: {{default: {next(iter(engines))}}}",
            )
        return next(iter(engines))
    _known_engine(DEFAULT_ROUTE, wanted, engines)
    return wanted


def check(config: StackConfig, engines: Mapping[str, EngineConfig], written: Mapping[str, Fact]) -> None:
    """Raise ConfigError, with the key and what to write instead, for whatever cannot be used.

    `written` are the values that somebody wrote, by path.
    """
    check_name(config.name)
    for name, engine in engines.items():
        if name in _TAKEN:
            raise ConfigError(
                f"the engine name `{name}` is taken: it is that of another service",
                remedy="give the engine another name",
            )
        _check_engine(engine, config, f"engines.{name}", written)
    _check_ports(config, engines, written)
    _check_routes(config, engines)
    for alias in config.aliases:
        if not _NAME.fullmatch(alias):
            raise ConfigError(
                f"`aliases` has {alias!r}: a model name is letters, digits and . _ : / @ + - without spaces",
                remedy="correct the alias",
            )
    _check_gateway(config, engines)


def _check_engine(engine: EngineConfig, config: StackConfig, path: str, written: Mapping[str, Fact]) -> None:
    if engine.url is not None:
        _check_remote(engine, config, path, written)
    elif engine.model is None:
        raise ConfigError(
            f"`{path}` has neither `model` nor `url`",
            remedy=f"set {path}.model to a Hugging Face id, a path, or `{EMBEDDED}`",
        )
    elif not engine.model.strip() or engine.model.startswith("-") or not engine.model.isprintable():
        raise ConfigError(
            f"`{path}.model` is not a model name: {engine.model!r}", remedy="give a Hugging Face id or a path"
        )
    if engine.api_key is not None:
        _check_reference(engine.api_key, path)
    if engine.command is not None and (not engine.command or not all(engine.command)):
        raise ConfigError(f"`{path}.command` is empty", remedy="give it as a list: [python3, my_server.py]")
    for flag in engine.args:
        if not _FLAG.fullmatch(flag):
            plain = flag.lstrip("-").replace("_", "-")
            meant = f"write it without dashes in front, with hyphens: `{plain}`"
            raise ConfigError(
                f"`{path}.args` has {flag!r}, which is not a flag of vLLM",
                remedy=meant
                if _FLAG.fullmatch(plain)
                else "write flags without dashes in front, e.g. gpu-memory-utilization: 0.9",
            )
    _check_values(engine.args, f"{path}.args")


def _check_values(value: object, path: str) -> None:
    """YAML has dates, sets, bytes and NaN; a command line has none of them."""
    if isinstance(value, dict):
        for key, each in value.items():
            _check_values(each, f"{path}.{key}")
    elif isinstance(value, list):
        for at, each in enumerate(value):
            _check_values(each, f"{path}[{at}]")
    elif not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(
            f"`{path}` is {value!r}, which no flag of vLLM can be", remedy="write it in quotes if it is meant as text"
        )


def _check_reference(key: str, path: str) -> None:
    if not _ENV_REFERENCE.fullmatch(key):
        raise ConfigError(
            f"`{path}.api_key` must name an environment variable, so that no key stands in a file",
            remedy=f"export the key as MY_KEY and write  api_key: env/MY_KEY  under {path}",
        )


def _check_url(url: str, path: str, example: str) -> None:
    parts = addresses.parts(url)
    if not parts.hostname:
        raise ConfigError(f"`{path}` is not an http address: {url}", remedy=f"write it like  {example}")
    if parts.username or parts.password:
        raise ConfigError(
            f"`{path}` has a password in it", remedy="put the key in a variable and name it: api_key: env/MY_KEY"
        )


def _check_remote(engine: EngineConfig, config: StackConfig, path: str, written: Mapping[str, Fact]) -> None:
    _check_url(str(engine.url), f"{path}.url", "http://192.168.1.7:8000")
    at = addresses.parts(str(engine.url))
    if at.hostname in _LOOPBACK and at.port == config.gateway.port:
        raise ConfigError(
            f"`{path}.url` is {engine.url}, where this stack's own gateway listens: requests would go round in a circle",
            remedy="name the engine's own address there, or set gateway.port to another port",
        )
    if config.gateway.kind == "direct":
        raise ConfigError(
            f"`{path}` already runs elsewhere and `gateway.kind` is direct: there is nothing to start",
            remedy="use gateway.kind: litellm, or point the client at the engine itself",
        )
    for key, given in (
        ("port", f"{path}.port" in written),
        ("trust_remote_code", engine.trust_remote_code),
        ("python", engine.python),
        ("command", engine.command),
        ("args", engine.args),
        ("revision", engine.revision),
    ):
        if given:
            raise ConfigError(
                f"`{path}` has both `url` and `{key}`: an engine that runs elsewhere is not started here",
                remedy="drop one of the two",
            )


def _check_ports(config: StackConfig, engines: Mapping[str, EngineConfig], written: Mapping[str, Fact]) -> None:
    """Ports that were written differ from each other; the others are chosen so that they do."""
    if config.gateway.kind == "direct":
        return
    taken = {config.gateway.port: "gateway.port"}
    for name, engine in engines.items():
        path = f"engines.{name}.port"
        if engine.url is not None or (path not in written and len(engines) > 1):
            continue
        if engine.port in taken:
            raise ConfigError(
                f"`{path}` and `{taken[engine.port]}` are both {engine.port}", remedy="give each a port of its own"
            )
        taken[engine.port] = path


def _known_engine(route: str, wanted: str, engines: Mapping[str, EngineConfig]) -> None:
    if wanted not in engines:
        near = difflib.get_close_matches(wanted, engines, n=1)
        raise ConfigError(
            f"`routes.{route}` names the engine `{wanted}`, which is not under `engines`",
            remedy=f"use `{near[0] if near else next(iter(engines))}`",
        )


def _check_routes(config: StackConfig, engines: Mapping[str, EngineConfig]) -> None:
    taken = {asked_as(DEFAULT_ROUTE): f"routes.{DEFAULT_ROUTE}", **dict.fromkeys(config.aliases, "aliases")}
    for name, to in config.routes.items():
        path = f"routes.{name}"
        _check_route_name(name)
        if isinstance(to, HostedConfig):
            _check_hosted(to, path)
        else:
            _known_engine(name, to, engines)
        asked = asked_as(name)
        if name != DEFAULT_ROUTE and asked in taken:
            raise ConfigError(
                f"`{path}` and `{taken[asked]}` both answer to the name {asked}", remedy="keep one of the two"
            )
        taken[asked] = path
    if {"haiku", "background"} <= config.routes.keys():
        raise ConfigError(
            "`routes.background` and `routes.haiku` are the same to Claude Code, whose background work asks for haiku",
            remedy="keep one of the two",
        )


def _check_route_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"`routes` has {name!r}: a route is {', '.join((DEFAULT_ROUTE, *TIERS))}, or a model name without spaces",
            remedy="correct the route",
        )
    known = (DEFAULT_ROUTE, *TIERS)
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.8)
    if name not in known and near and abs(len(name) - len(near[0])) < 2:
        raise ConfigError(f"unknown route `routes.{name}`", remedy=f"did you mean `{near[0]}`?")


def _check_hosted(to: HostedConfig, path: str) -> None:
    provider, slash, model = to.hosted.partition("/")
    if not (provider and slash and model) or not _NAME.fullmatch(to.hosted):
        raise ConfigError(
            f"`{path}.hosted` is {to.hosted!r}, and must be provider/model as LiteLLM names them",
            remedy="write it like  hosted: anthropic/claude-opus-4-8",
        )
    _check_reference(to.api_key, path)
    if to.api_base is not None:
        _check_url(to.api_base, f"{path}.api_base", "https://api.example.com")


def _check_gateway(config: StackConfig, engines: Mapping[str, EngineConfig]) -> None:
    gateway = config.gateway
    if gateway.kind == "direct":
        others = [name for name in config.routes if name != DEFAULT_ROUTE]
        if len(engines) > 1 or others:
            what = f"there are {len(engines)} engines" if len(engines) > 1 else f"there is the route `{others[0]}`"
            raise ConfigError(
                f"`gateway.kind` is direct, and {what}: without LiteLLM clients talk to one engine, and nothing routes",
                remedy="use gateway.kind: litellm",
            )
        if gateway.host not in _LOOPBACK[:2]:
            raise ConfigError(
                f"`gateway.host` is {gateway.host}, and with gateway.kind direct vLLM itself listens, on 127.0.0.1 only",
                remedy="use gateway.kind: litellm to listen elsewhere",
            )
    if gateway.host not in _LOOPBACK and not gateway.allow_remote:
        raise ConfigError(
            f"`gateway.host` is {gateway.host}: other machines could reach the gateway",
            remedy="if you mean that, also set gateway.allow_remote: true (a key is always asked for)",
        )
