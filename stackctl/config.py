"""`stack.yaml` + environment + flags -> StackConfig, each value knowing its origin.

Precedence: flag, environment variable, file, default. The file is `--config`, else `./stack.yaml` once trusted, else
the one in the user's configuration directory, else none: an empty file is a whole configuration.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec

from stackctl import trust
from stackctl.errors import ConfigError
from stackctl.model import Fact
from stackctl.names import DEFAULT_NAME, check_name, config_file
from stackctl.yamlfile import load_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

EMBEDDED = "embedded"
CLIENT_MODEL = "claude-local"  # honest and still discoverable: Claude Code's /model lists ids that contain "claude"

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+\[\]-]{0,127}")
_ENV_REFERENCE = re.compile(r"env/[A-Za-z_][A-Za-z0-9_]*")
S = TypeVar("S", bound=msgspec.Struct)

_FLAG = re.compile(r"[a-z0-9][a-z0-9-]*")


class EngineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One engine: `model` makes it managed, `url` says that it already runs elsewhere."""

    model: str | None = None
    url: str | None = None
    api_key: str | None = None
    port: Port = 8000
    max_model_len: Annotated[int, msgspec.Meta(ge=1)] | Literal["auto"] = "auto"
    args: dict[str, Any] = {}
    python: str | None = None
    command: list[str] | None = None
    revision: str | None = None
    trust_remote_code: bool = False


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What clients talk to. `request_timeout` is in seconds."""

    kind: Literal["litellm", "direct"] = "litellm"
    host: str = "127.0.0.1"
    port: Port = 4000
    request_timeout: Annotated[int, msgspec.Meta(ge=1)] = 600
    python: str | None = None
    allow_remote: bool = False


class StackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of `stack.yaml`."""

    name: str = DEFAULT_NAME
    engines: dict[str, EngineConfig] = {}
    gateway: GatewayConfig = GatewayConfig()
    routes: dict[str, str] = {}
    aliases: list[str] = []
    allow_untested: bool = False


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line said; None where it said nothing."""

    config: str | None = None
    name: str | None = None
    model: str | None = None
    gateway: str | None = None
    allow_untested: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked configuration; `facts` say where each value that is not a default came from."""

    config: StackConfig
    engine_name: str
    engine: EngineConfig
    source: str | None
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def origin(self, path: str) -> tuple[str, str]:
        """(origin, detail) of the value at `path`, e.g. `gateway.port`."""
        fact = self.facts.get(path)
        return (fact.origin, fact.detail) if fact else ("default", "")


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
    name, engine = _the_engine(config, source)
    _check(config, engine, name, facts)
    return Loaded(config, name, engine, source, facts)


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
    engines = raw.get("engines")
    only = next(iter(engines)) if isinstance(engines, dict) and len(engines) == 1 else "main"
    put(f"engines.{only}.model", ("--model", flags.model), "STACKCTL_MODEL")
    if flags.allow_untested:
        put("allow_untested", ("--allow-untested", True))


def _convert(raw: dict[str, Any], where: str) -> StackConfig:
    """Type-check `raw` part by part, so that an error names the exact path."""
    _known_keys(raw, StackConfig, "", where)
    engines_raw = raw.get("engines", {})
    if not isinstance(engines_raw, dict):
        raise ConfigError(
            f"{where}: `engines` must map names to engines, not {_kind(engines_raw)}",
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
    rest = _one({k: v for k, v in raw.items() if k not in {"engines", "gateway"}}, StackConfig, "", where)
    return msgspec.structs.replace(rest, engines=engines, gateway=gateway)


def _known_keys(value: object, struct: type[msgspec.Struct], path: str, where: str) -> None:
    if not isinstance(value, dict):
        raise ConfigError(
            f"{where}: `{path}` must be a mapping, not {_kind(value)}", remedy=f"see the keys of `{path}` in the README"
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
        return msgspec.convert(value, struct)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at `$")
        at = at.rstrip("`").lstrip(".")
        full = ".".join(part for part in (path, at) if part)
        raise ConfigError(f"{where}: `{full}`: {_plain(reason)}", remedy=f"correct `{full}`") from error


def _plain(reason: str) -> str:
    names = {
        "`int`": "a whole number",
        "`str`": "text",
        "`bool`": "true or false",
        "`array`": "a list",
        "`object`": "a mapping",
        "`null`": "nothing",
    }
    for word, plain in names.items():
        reason = reason.replace(word, plain)
    return reason[:1].lower() + reason[1:]


def _kind(value: object) -> str:
    return {list: "a list", dict: "a mapping", str: "text", bool: "true/false", type(None): "nothing"}.get(
        type(value), "a number"
    )


def _the_engine(config: StackConfig, source: str | None) -> tuple[str, EngineConfig]:
    """The engine that `routes.default` names; the embedded default when none is configured."""
    where = source or "the configuration"
    for route in config.routes:
        if route != "default":
            raise ConfigError(
                f"{where}: the route `{route}` is not supported by this version", remedy="keep only `routes.default`"
            )
    engines = config.engines or {"main": EngineConfig(model=EMBEDDED)}
    if len(engines) > 1:
        raise ConfigError(
            f"{where}: {len(engines)} engines are configured ({', '.join(engines)}); this version runs one to a stack",
            remedy="keep one, or put the others in stacks of their own (--config and --name)",
        )
    wanted = config.routes.get("default", next(iter(engines)))
    if wanted not in engines:
        near = difflib.get_close_matches(wanted, engines, n=1)
        raise ConfigError(
            f"{where}: `routes.default` names the engine `{wanted}`, which is not under `engines`",
            remedy=f"use `{near[0] if near else next(iter(engines))}`",
        )
    return wanted, engines[wanted]


def _check(config: StackConfig, engine: EngineConfig, name: str, written: Mapping[str, Fact]) -> None:
    """What types cannot say."""
    check_name(config.name)
    path = f"engines.{name}"
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
    if engine.api_key is not None and not _ENV_REFERENCE.fullmatch(engine.api_key):
        raise ConfigError(
            f"`{path}.api_key` must name an environment variable, so that no key stands in a file",
            remedy=f"export the key as MY_KEY and write  api_key: env/MY_KEY  under {path}",
        )
    if engine.command is not None and (not engine.command or not all(engine.command)):
        raise ConfigError(f"`{path}.command` is empty", remedy="give it as a list: [python3, my_server.py]")
    for flag in engine.args:
        if not _FLAG.fullmatch(flag):
            raise ConfigError(
                f"`{path}.args` has {flag!r}, which is not a flag of vLLM",
                remedy="write flags without dashes in front, e.g. gpu-memory-utilization: 0.9",
            )
    if engine.url is None and engine.port == config.gateway.port and config.gateway.kind != "direct":
        raise ConfigError(
            f"`{path}.port` and `gateway.port` are both {engine.port}", remedy="give each a port of its own"
        )
    for alias in config.aliases:
        if not _ALIAS.fullmatch(alias):
            raise ConfigError(
                f"`aliases` has {alias!r}: a model name is letters, digits and . _ : / @ + - without spaces",
                remedy="correct the alias",
            )
    if config.gateway.kind == "direct" and config.gateway.host not in {"127.0.0.1", "localhost"}:
        raise ConfigError(
            f"`gateway.host` is {config.gateway.host}, and with gateway.kind direct vLLM itself listens, on 127.0.0.1 only",
            remedy="use gateway.kind: litellm to listen elsewhere",
        )
    if config.gateway.host not in {"127.0.0.1", "localhost", "::1"} and not config.gateway.allow_remote:
        raise ConfigError(
            f"`gateway.host` is {config.gateway.host}: other machines could reach the gateway",
            remedy="if you mean that, also set gateway.allow_remote: true (a key is always asked for)",
        )


def _check_remote(engine: EngineConfig, config: StackConfig, path: str, written: Mapping[str, Fact]) -> None:
    from urllib.parse import urlsplit

    url = str(engine.url)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            f"`{path}.url` is not an http address: {url}", remedy="write it like  http://192.168.1.7:8000"
        )
    if parts.username or parts.password:
        raise ConfigError(
            f"`{path}.url` has a password in it", remedy="put the key in a variable and name it: api_key: env/MY_KEY"
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
