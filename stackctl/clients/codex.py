"""Codex. It reads its provider from a configuration file or `-c` overrides, not from the environment, so a launch adds
those. Tried with 0.169.0: the window arrives by the gateway's own catalogue (`model_catalog_url`), else by `-c`.
"""

from __future__ import annotations

import json
import os

from stackctl.clients import proxy
from stackctl.clients.conflicts import home_of, of_openai, proxied, text_of
from stackctl.clients.types import Client, Conflict, Start

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY = "STACKCTL_CODEX_KEY"
PROVIDER = "stackctl"
_OURS = ("model", "model_provider", "model_context_window", "web_search")


def environment(
    facts: Mapping[str, object], key: str | None, environ: Mapping[str, str], private: str = ""
) -> dict[str, str]:
    """The key's variable, which the provider names (`env_key`), and NO_PROXY."""
    del private
    without = proxy.merged(environ, str(facts.get("host") or ""))
    return {**({} if key is None else {KEY: key}), "NO_PROXY": without, "no_proxy": without}


def overrides(facts: Mapping[str, object]) -> list[str]:
    """The `-c` arguments. Values are TOML, of which JSON strings, numbers and booleans are a part."""
    timeout = 1000 * int(str(facts.get("timeout") or 600))
    provider = {
        "name": "stackctl",
        "base_url": f"{facts['url']}/v1",
        "env_key": KEY,
        "wire_api": "responses",  # the only protocol that it still speaks
        "model_catalog_url": f"{facts['url']}/v1/models",  # else it warns that it knows nothing of the model
        "request_max_retries": 1,  # more would hide the real error for minutes
        "stream_idle_timeout_ms": timeout,  # a local model may think in silence for long
    }
    inline = ", ".join(f"{name} = {json.dumps(value)}" for name, value in provider.items())
    given = [
        f"model_provider={json.dumps(PROVIDER)}",
        f"model={json.dumps(facts['served'] or facts['model'])}",
        f"model_providers.{PROVIDER}={{{inline}}}",
        'web_search="disabled"',  # it would run on OpenAI's servers
        "check_for_update_on_startup=false",
        "analytics.enabled=false",
    ]
    if facts.get("window"):
        given.append(f"model_context_window={facts['window']}")
    return [word for each in given for word in ("-c", each)]


def by_hand(facts: Mapping[str, object]) -> list[str]:
    """The command line that does what no variable can."""
    from stackctl.shell import posix

    words = " ".join(posix.quote(word) for word in overrides(facts))
    return ["Codex takes no provider from the environment; `stackctl launch codex` does it all, or: codex " + words]


def config_files(environ: Mapping[str, str], cwd: str) -> list[str]:
    """Its configuration: the user's own, then the project's."""
    own = environ.get("CODEX_HOME") or os.path.join(home_of(environ), ".codex")
    return list(dict.fromkeys((os.path.join(own, "config.toml"), os.path.join(cwd, ".codex", "config.toml"))))


def conflicts(variables: Mapping[str, str], environ: Mapping[str, str], cwd: str) -> list[Conflict]:
    """What its configuration files say of the model: the command line wins, `env` alone changes nothing there."""
    import tomllib

    del variables
    found = [*proxied(environ), *of_openai(environ)]
    for path in config_files(environ, cwd):
        try:
            said = tomllib.loads(text_of(path))
        except (tomllib.TOMLDecodeError, RecursionError):
            continue  # Codex itself says that the file is broken
        names = [name for name in _OURS if name in said]
        if names:
            shown = ", ".join(f"{name} to {json.dumps(said[name], default=str)[:80]}" for name in names)
            found.append(Conflict(path, f"sets {shown}", beats_env=True))
    return found


def start(facts: Mapping[str, object], variables: Mapping[str, str], arguments: Sequence[str], private: str) -> Start:
    """Our overrides first: for Codex the last one of a name wins, so the user's own do."""
    del variables, private
    notes = []
    for at, word in enumerate(arguments):
        value = arguments[at + 1] if at + 1 < len(arguments) else ""
        if word in {"-m", "--model"}:
            notes.append(f"your {word} {value} wins over {facts['served']}")
        elif word in {"-c", "--config"} and value.startswith(("model=", "model_provider=")):
            notes.append(f"your {word} {value} wins over the stack's")
        elif word in {"--oss", "-p", "--profile"}:
            notes.append(f"your {word} may choose another provider than the stack")
    return Start((*overrides(facts), *arguments), notes=notes)


CLIENT = Client(
    name="codex",
    title="Codex",
    program="codex",
    install="npm install -g @openai/codex",
    oldest=(0, 169),
    key_variable=KEY,
    environment=environment,
    start=start,
    by_hand=by_hand,
    conflicts=conflicts,
)
