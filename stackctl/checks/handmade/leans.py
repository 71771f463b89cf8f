"""Checks of a hand-written litellm_config.yaml: other servers that LiteLLM is made to lean on, and that are not there."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stackctl import addresses
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.checks.handmade import file
from stackctl.checks.litellm_file import looked_up
from stackctl.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stackctl.checks.facts import Facts
    from stackctl.model import Finding

NAME = "configuration.hand-leans"
_CONNECT = 2.0  # seconds
_POSTGRES, _REDIS, _PROXY = 5432, 6379, 80
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class _Place:
    """A server that the file names: what it is, where in the file, and whether LiteLLM fails without it."""

    what: str
    path: str
    host: str
    port: int
    fails: bool


def there(facts: Facts) -> Iterator[Finding]:
    """A database, a Redis and a proxy that the file names answer."""
    for place in dict.fromkeys(_places(facts.hand_config or {}, facts.environ)):
        try:
            socket.create_connection((place.host, place.port), timeout=_CONNECT).close()
        except (socket.gaierror, UnicodeError):
            continue  # a name that only LiteLLM's own network knows (a container's)
        except OSError as error:
            at = f"{place.host}:{place.port}"
            yield answers.finding(
                f"configuration.{'' if place.fails else 'spare-'}server-away", Status.FAIL if place.fails else Status.WARN,
                (f"{place.path}: {at}: {error.strerror or error}",), what=place.what, at=at, path=place.path, blocks=False,
            )  # fmt: skip


def _places(config: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[_Place]:
    database = looked_up(file.section(config, "general_settings").get("database_url"), environ)
    yield from _at("the database", "general_settings.database_url", database, _POSTGRES, fails=True)
    settings, router = file.section(config, "litellm_settings"), file.section(config, "router_settings")
    params = file.section(settings, "cache_params")
    if settings.get("cache") is True and str(params.get("type")).startswith("redis"):
        path = "litellm_settings.cache_params"
        yield from _at("Redis", path, looked_up(params.get("url"), environ), _REDIS, fails=False)
        yield from _beside("Redis", path, params.get("host"), params.get("port"), environ)
    yield from _at(
        "Redis", "router_settings.redis_url", looked_up(router.get("redis_url"), environ), _REDIS, fails=False
    )
    yield from _beside("Redis", "router_settings", router.get("redis_host"), router.get("redis_port"), environ)
    for name, value in file.section(config, "environment_variables").items():
        if str(name).upper() in _PROXIES:
            said = looked_up(value, environ)
            yield from _at("the proxy", f"environment_variables.{name}", said, _PROXY, fails=True)


def _at(what: str, path: str, url: str | None, port: int, *, fails: bool) -> Iterator[_Place]:
    at = addresses.parts(f"http://{(url or '').rpartition('://')[2]}")
    if at.hostname:
        yield _Place(what, path, at.hostname, at.port or port, fails)


def _beside(what: str, path: str, host: Any, port: Any, environ: Mapping[str, str]) -> Iterator[_Place]:
    name, number = looked_up(host, environ), looked_up(str(port), environ) if port is not None else str(_REDIS)
    if name and number and number.isdecimal():
        yield _Place(what, path, name, int(number), fails=False)


CHECKS = (
    Check(NAME, Hop.CONFIG, "The servers that LiteLLM leans on are there.", there, ("configuration.file",), live=True),
)
