"""Checks of the client's side: what Claude Code started in this shell would really do."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING

from stackctl import addresses, sockets
from stackctl.checks import answers
from stackctl.checks.check import Check, Hop
from stackctl.clients import claude, claude_conflicts, claude_names, claude_version, conflicts, proxy
from stackctl.model import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackctl.checks.facts import Facts

_LOOPBACK = {"127.0.0.1", "localhost", "::1", "0.0.0.0"}
_SOCKET = "ANTHROPIC_UNIX_SOCKET"  # goes before the address
_LONG = "[1m]"  # Claude Code takes it off the name again
_HARD = {"ANTHROPIC_BASE_URL", claude.TOKEN, "ANTHROPIC_MODEL", *claude.SWITCHES}


def _url(facts: Facts) -> str:
    """Where Claude Code in this shell would send its requests; empty for Anthropic's own."""
    return facts.environ.get("ANTHROPIC_BASE_URL", "").strip()  # as Claude Code reads it (2.1.330)


def gateway(facts: Facts) -> str:
    """The gateway that is looked at: of the stack that runs, or the one that was named; empty without one."""
    if facts.own:
        return facts.state.gateway_url if facts.running and facts.state is not None else ""
    return next((end.url for lane in facts.lanes for end in (lane.gateway, lane.engine) if end is not None), "")


def _at(url: str) -> tuple[str, int]:
    """Host and port of an address, with one name for loopback."""
    parts = addresses.parts(url)
    if not parts.hostname:
        return url, 0
    host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    return ("127.0.0.1" if host in _LOOPBACK else host), port


def uses(facts: Facts) -> bool:
    """Whether this shell points Claude Code at the gateway that is looked at."""
    return bool(_url(facts)) and bool(gateway(facts)) and _at(_url(facts)) == _at(gateway(facts))


def address(facts: Facts) -> Iterator[Finding]:
    """The address in this shell is one that something listens at, and the stack's."""
    url, here = _url(facts), gateway(facts)
    if not url:
        if facts.own and facts.running:
            why = (
                'this shell does not point Claude Code at the stack: stackctl launch claude, or eval "$(stackctl env)"'
            )
            yield Finding("client.address", Status.SKIPPED, why, hop=Hop.CLIENT)
        return
    shown = (f"ANTHROPIC_BASE_URL={url}",)
    host, port = _at(url)
    held = facts.state.gateway_url if facts.own and facts.state is not None else ""
    if held and _at(url) == _at(held) and not addresses.parts(url).path.strip("/"):
        return  # if nobody listens there, the checks of the services say why
    if facts.own and facts.state_error is not None:
        return  # where the stack is, nobody can tell
    if addresses.parts(url).path.rstrip("/").endswith("/v1"):
        yield answers.finding("client.base-url-v1", Status.FAIL, shown, url=url.rstrip("/").removesuffix("/v1"))
    elif host == "127.0.0.1" and not any(each.port == port for each in sockets.listening()):
        meant = f"the stack is at {here}" if here else "no stack runs"
        yield answers.finding(
            "client.stale-url", Status.FAIL, (*shown, f"nobody listens on port {port}"), url=url, meant=meant
        )
    elif here and facts.own and not uses(facts):
        yield answers.finding("client.other-url", Status.WARN, shown, url=url, gateway=here, blocks=False)


def key(facts: Facts) -> Iterator[Finding]:
    """The shell holds one key, and it is the stack's."""
    environ = facts.environ
    if not _url(facts):
        return
    token, other = environ.get(claude.TOKEN, "").strip(), environ.get("ANTHROPIC_API_KEY", "").strip()
    if token and other:
        yield answers.finding("client.two-keys", Status.WARN, blocks=False)
    if not facts.own or not uses(facts) or facts.client_key is None:
        return
    if not token and not other:
        yield answers.finding("client.no-key", Status.FAIL, (f"{claude.TOKEN} is not set",))
    elif token and token != facts.client_key:
        yield answers.finding(
            "client.stale-key", Status.FAIL, (f"{claude.TOKEN} is not the stack's key",), names=claude.TOKEN
        )
    elif not token and other != facts.client_key:
        yield answers.finding(
            "client.stale-key", Status.FAIL, ("ANTHROPIC_API_KEY is not the stack's key",),
            names=f"{claude.TOKEN} ANTHROPIC_API_KEY",
        )  # fmt: skip


def variables(facts: Facts) -> Iterator[Finding]:
    """The other variables of this shell are those of the stack that runs."""
    environ = facts.environ
    on = [name for name in claude.SWITCHES if environ.get(name, "").lower() not in {"", "0", "false", "no", "off"}]
    on += [_SOCKET] if environ.get(_SOCKET) else []
    if on and _url(facts):
        yield answers.finding(
            "client.switch", Status.FAIL, [f"{name} is set" for name in on], name=on[0], names=" ".join(on)
        )
    client = facts.state.client if facts.state is not None and facts.running else None
    if client is None or not uses(facts):
        return
    model = environ.get("ANTHROPIC_MODEL", "").strip().removesuffix(_LONG)
    ours = {client.model, *(each.model for each in client.routes)}
    ours |= set(map(claude.twin, ours))
    served = {*ours, client.served, *(facts.loaded.config.aliases if facts.loaded is not None else ())}
    if model and model not in served:
        yield answers.finding(
            "client.unknown-model", Status.FAIL, (f"ANTHROPIC_MODEL={model}",), model=model, right=client.model
        )
    elif model not in ours and model.startswith("claude-"):
        window = f"{client.window:,}" if client.window else "unknown"
        yield answers.finding("client.real-model", Status.WARN, (f"ANTHROPIC_MODEL={model}",), model=model, window=window, right=client.model, blocks=False)  # fmt: skip
    wanted = claude.environment(asdict(client), None, {})
    stale = [why for name in claude_names.LIMITS if (why := claude_names.unfit(name, environ.get(name, wanted.get(name, "")), wanted.get(name, "")))]  # fmt: skip
    if environ.get("ANTHROPIC_MODEL", "").endswith(_LONG):
        stale.append(f"ANTHROPIC_MODEL={model}{_LONG}: Claude Code believes in a window of a million tokens")
    missing = [name for name in (claude_names.WINDOW,) if name in wanted and name not in environ]
    if stale or missing:
        shown = [
            *stale,
            *(f"{name} is not set: Claude Code believes in a window of 200,000 tokens" for name in missing),
        ]
        names = " ".join(each.partition("=")[0].partition(" ")[0] for each in shown)
        yield answers.finding("client.stale-values", Status.WARN, shown, first=shown[0], names=names, blocks=False)


def proxies(facts: Facts) -> Iterator[Finding]:
    """No proxy stands between this shell and loopback."""
    url = _url(facts)
    host, port = _at(url)
    if host != "127.0.0.1":
        return
    written = addresses.parts(url).hostname or host
    through = proxy.in_the_way(facts.environ, written, port)
    if not through or "://" not in facts.environ[through]:  # Claude Code does not start with that, which `values` says
        return
    told = next((name for name in reversed(proxy.NAMES) if facts.environ.get(name)), "")
    shown = [
        f"{through} is set, and "
        + (f"{told}={facts.environ[told]} does not except {written}" if told else f"there is no NO_PROXY for {written}")
    ]
    yield answers.finding("client.proxy", Status.FAIL, shown, name=through, host=written)


def settings(facts: Facts) -> Iterator[Finding]:
    """No settings file of Claude Code's says something else than the stack."""
    for path, _ in claude_conflicts.settings_files(facts.environ, facts.cwd):
        if why := _not_json(path):
            yield answers.finding("client.settings-broken", Status.WARN, (f"{path}: {why}",), path=path, blocks=False)
    client = facts.state.client if facts.state is not None and facts.running else None
    if client is None:
        return
    wanted = claude.environment(claude.for_installed(asdict(client), facts.environ), facts.client_key, facts.environ)
    found = [each for each in claude_conflicts.in_settings(wanted, facts.environ, facts.cwd) if not each.aside]
    hard = [each for each in found if any(f"sets {name}" in each.what for name in _HARD)]
    for each in hard or found:
        heavy = each in hard and (uses(facts) or each.beats_launch)
        remedy = "stackctl launch claude" if not each.beats_launch else "an administrator has to change it"
        yield answers.finding(
            "client.settings-override", Status.FAIL if heavy else Status.WARN, (f"{each.where} {each.what}",),
            where=each.where, what=each.what, way=remedy, blocks=False,
        )  # fmt: skip


def _not_json(path: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # nobody may ever write into a FIFO
        with open(handle, "rb") as stream:
            json.loads(stream.read(1 << 20))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or "not readable"
    except (ValueError, RecursionError, TypeError) as error:
        return str(error)
    return ""


def start_files(facts: Facts) -> Iterator[Finding]:
    """No start-up file and no editor sets another address."""
    client = facts.state.client if facts.state is not None and facts.running else None
    if client is None:
        return
    wanted = claude.environment(claude.for_installed(asdict(client), facts.environ), None, facts.environ)
    for each in claude_conflicts.elsewhere(wanted, facts.environ, facts.cwd):
        if "sets ANTHROPIC_BASE_URL to another" in each.what or "claudeCode.environmentVariables" in each.what:
            yield answers.finding(
                "client.start-file",
                Status.WARN,
                (f"{each.where} {each.what}",),
                where=each.where,
                what=each.what,
                blocks=False,
            )


def nested(facts: Facts) -> Iterator[Finding]:
    """This shell is not one inside another Claude Code."""
    if facts.environ.get("CLAUDECODE") and uses(facts):
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
        yield answers.finding("client.too-old", Status.FAIL, (f"{path}: {shown}",), version=shown, oldest=oldest)
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
    Check("client.key", Hop.CLIENT, "This shell's key is the stack's.", key, ("client.address",)),
    Check("client.variables", Hop.CLIENT, "This shell's other variables are the stack's.", variables, ("client.address",)),
    Check("client.proxies", Hop.CLIENT, "No proxy stands before loopback.", proxies, ("client.address",)),
    Check("client.settings", Hop.CLIENT, "No settings file overrides the stack.", settings),
    Check("client.start-files", Hop.CLIENT, "No start-up file or editor sets another address.", start_files),
    Check("client.nested", Hop.CLIENT, "This is not inside another Claude Code.", nested),
)  # fmt: skip
