"""Checks of the client's side: what Claude Code started in this shell would really do."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING

from stackctl import addresses, sockets
from stackctl.checks import answers, neighbour
from stackctl.checks.check import Check, Hop
from stackctl.checks.client import told
from stackctl.clients import (
    claude,
    claude_names,
    claude_settings,
    claude_version,
    conflicts,
    proxy,
)
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stackctl.checks.facts import Facts
    from stackctl.checks.neighbour import Neighbour

_SOCKET = "ANTHROPIC_UNIX_SOCKET"  # goes before the address
_BY_ITSELF = "opus"  # the tier that Claude Code 2.1.330 takes where nothing is said
_LONG = "[1m]"  # Claude Code takes it off the name again


def address(facts: Facts) -> Iterator[Finding]:
    """The address in this shell is one that something listens at, and the stack's."""
    url, here = told.url(facts), told.gateway(facts)
    if not url:
        if facts.own and facts.running:
            why = (
                'this shell does not point Claude Code at the stack: stackctl launch claude, or eval "$(stackctl env)"'
            )
            yield Finding("client.address", Status.SKIPPED, why, hop=Hop.CLIENT)
        return
    if facts.own and facts.running and told.URL not in told.shells(facts):
        return  # a settings file says so, which is said there
    shown = (f"ANTHROPIC_BASE_URL={url}",)
    host, port = told.place(url)
    held = facts.state.gateway_url if facts.own and facts.state is not None else ""
    if held and told.place(url) == told.place(held) and not addresses.parts(url).path.strip("/"):
        return  # if nobody listens there, the checks of the services say why
    if facts.own and facts.state_error is not None:
        return  # where the stack is, nobody can tell
    path = addresses.parts(url).path.rstrip("/")
    if path.endswith(("/v1", "/v1/messages")) or (path and facts.own and told.uses(facts)):
        ends = next((each for each in ("/v1", "/v1/messages") if path.endswith(each)), path)
        right = url.rstrip("/").removesuffix("/messages").removesuffix("/v1")
        right = right.removesuffix(path) if facts.own and told.uses(facts) else right
        yield answers.finding("client.base-url-v1", Status.FAIL, shown, path=ends, url=right)
    elif host == "127.0.0.1" and not any(each.port == port for each in sockets.listening()):
        meant = f"the stack is at {here}" if here else "no stack runs"
        yield answers.finding(
            "client.stale-url", Status.FAIL, (*shown, f"nobody listens on port {port}"), url=url, meant=meant
        )
    elif facts.own and not told.uses(facts):
        other = neighbour.at(port) if host == "127.0.0.1" else None
        if other is not None and (facts.paths is None or other.root != facts.paths.root):
            yield _others(facts, other, shown)
        elif here:
            yield answers.finding("client.other-url", Status.WARN, shown, url=url, gateway=here, blocks=False)


def _others(facts: Facts, other: Neighbour, shown: tuple[str, ...]) -> Finding:
    """The address is that of another stack of ours, which may ask for another key."""
    key = told.environment(facts).get(claude.TOKEN, "").strip()
    wrong = bool(key) and bool(other.key()) and key != other.key()
    here = told.gateway(facts)
    home = "" if facts.paths is not None and facts.paths.root == os.path.join(other.home, "stacks", facts.paths.name) else f" of STACKCTL_HOME={other.home}"  # fmt: skip
    return answers.finding(
        "client.other-stack", Status.FAIL if wrong else Status.WARN, (*shown, other.root),
        name=other.name, home=home, key=", with a key that is not its" if wrong else "",
        here=f"is at {here}" if here else "does not run", look=other.command("doctor"),
        env=other.command("env"), blocks=False,
    )  # fmt: skip


def variables(facts: Facts) -> Iterator[Finding]:
    """The other variables of this shell are those of the stack that runs."""
    environ, shell = told.environment(facts), told.shells(facts)
    on = [name for name in claude.SWITCHES if shell.get(name, "").lower() not in {"", "0", "false", "no", "off"}]
    on += [_SOCKET] if shell.get(_SOCKET) else []
    if on and told.url(facts):
        yield answers.finding(
            "client.switch", Status.FAIL, [f"{name} is set" for name in on], name=on[0], names=" ".join(on)
        )
    client = facts.client
    if client is None or not told.uses(facts):
        return
    asked, where = _asked(facts, environ)
    model = asked.removesuffix(_LONG)
    ours = {client.model, *(each.model for each in client.routes)}
    ours |= set(map(claude.twin, ours))
    served = {*ours, client.served, *(facts.loaded.config.aliases if facts.loaded is not None else ())}
    if where and model not in served:
        yield answers.finding(
            "client.unknown-model", Status.FAIL, (where,), where=where, model=model, right=client.model
        )
        return  # of another model, other limits count
    if where and model not in ours and model.startswith("claude-"):
        window = f"{client.window:,}" if client.window else "unknown"
        yield answers.finding("client.real-model", Status.WARN, (where,), model=model, window=window, right=client.model, blocks=False)  # fmt: skip
    wanted = claude.environment(asdict(client), None, {})
    stale = {
        name: why
        for name in claude_names.LIMITS
        if (why := claude_names.unfit(name, shell.get(name, wanted.get(name, "")), wanted.get(name, "")))
    }
    if where and asked.endswith(_LONG):
        stale[told.MODEL] = f"{where}: Claude Code believes in a window of a million tokens"
    if claude_names.WINDOW in wanted and claude_names.WINDOW not in environ:
        stale[claude_names.WINDOW] = (
            f"{claude_names.WINDOW} is not set: Claude Code believes in a window of 200,000 tokens"
        )
    if stale:
        shown = tuple(stale.values())
        names = " ".join(stale)
        yield answers.finding("client.stale-values", Status.WARN, shown, first=shown[0], names=names, blocks=False)


def _asked(facts: Facts, environ: Mapping[str, str]) -> tuple[str, str]:
    """(the model that would be asked for, where that is said); empty ones where a settings file's `env` says it, which
    is judged there.
    """
    if told.MODEL in environ:
        model = environ[told.MODEL].strip()
        if model:
            return (model, f"{told.MODEL}={model}") if told.MODEL in told.shells(facts) else ("", "")
    path, model = claude_settings.value("model", facts.environ, facts.cwd)
    where = f"{path} sets model to {model}" if model else f"{told.MODEL} is not set"
    tier = claude_names.tier_of(model or _BY_ITSELF)
    if not tier:
        return model, where
    mapped = environ.get(f"ANTHROPIC_DEFAULT_{tier}_MODEL", "").strip()
    if not mapped:
        return f"one of Anthropic's{f' for {model}' if model else ''}", where
    # 2.1.330 asks for Opus in its long form, `best` and the other tiers are taken as they are mapped
    return (f"{mapped}{_LONG}", where) if model in {"", _BY_ITSELF} else (mapped, "")


def proxies(facts: Facts) -> Iterator[Finding]:
    """No proxy stands between this shell and loopback."""
    url = told.url(facts)
    host, port = told.place(url)
    if host != "127.0.0.1":
        return
    written = addresses.parts(url).hostname or host
    environ = told.environment(facts)
    through = proxy.in_the_way(environ, written, port)
    if not through or "://" not in environ[through]:  # Claude Code does not start with that, which `values` says
        return
    named = next((name for name in reversed(proxy.NAMES) if environ.get(name)), "")
    shown = [
        f"{through} is set, and "
        + (f"{named}={environ[named]} does not except {written}" if named else f"there is no NO_PROXY for {written}")
    ]
    yield answers.finding("client.proxy", Status.FAIL, shown, name=through, host=written)


def nested(facts: Facts) -> Iterator[Finding]:
    """This shell is not one inside another Claude Code."""
    if facts.environ.get("CLAUDECODE") and told.uses(facts):
        yield answers.finding("client.nested", Status.WARN, ("CLAUDECODE is set",), blocks=False)


def program(facts: Facts) -> Iterator[Finding]:
    """The installed Claude Code can use a stack."""
    path = shutil.which(claude.CLIENT.program, path=facts.environ.get("PATH", os.defpath))
    if path is None:
        yield Finding("client.program", Status.SKIPPED, "Claude Code is not installed here", hop=Hop.CLIENT)
        return
    if conflicts.wsl_program(path, facts.environ):
        yield answers.finding("client.windows-program", Status.FAIL, (path,), path=path)
        return
    version = claude_version.installed(facts.environ)
    if version is None:
        return
    shown = ".".join(map(str, version))
    if version < claude.CLIENT.oldest:
        oldest = ".".join(map(str, claude.CLIENT.oldest))
        further = claude_version.behind(facts.environ)
        seen = [f"{path}: {shown}", *(f"further back on PATH: {each}" for each in further)]
        yield answers.finding("client.too-old", Status.FAIL, seen, version=shown, oldest=oldest)
        return
    for since, what in claude.CLIENT.limits:
        if version < since:
            yield answers.finding(
                "client.limited", Status.WARN, (f"{path}: {shown}",), version=shown, what=what, blocks=False
            )


def node(facts: Facts) -> Iterator[Finding]:
    """A Claude Code that is a script of Node's finds its Node."""
    search = facts.environ.get("PATH", os.defpath)
    path = shutil.which(claude.CLIENT.program, path=search)
    try:
        with open(path or os.devnull, "rb") as stream:
            first = stream.readline(200)
    except OSError:
        return
    if first.startswith(b"#!") and b"node" in first and shutil.which("node", path=search) is None:
        yield answers.finding("client.no-node", Status.FAIL, (f"{path}: {first.decode(errors='replace').strip()}",))


CHECKS = (
    Check("client.program", Hop.CLIENT, "The installed Claude Code can use a stack.", program),
    Check("client.node", Hop.CLIENT, "Claude Code finds the Node that it needs.", node),
    Check("client.address", Hop.CLIENT, "This shell's ANTHROPIC_BASE_URL is the stack's.", address, ("client.values",)),
    Check("client.variables", Hop.CLIENT, "This shell's other variables are the stack's.", variables, ("client.address", "client.key")),
    Check("client.proxies", Hop.CLIENT, "No proxy stands before loopback.", proxies, ("client.address",)),
    Check("client.nested", Hop.CLIENT, "This is not inside another Claude Code.", nested),
)  # fmt: skip
