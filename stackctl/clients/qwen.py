"""Qwen Code. A settings file named by a variable outranks the user's and the project's: it is the only way to tell it the
true window. Tried with 0.24.4.
"""

from __future__ import annotations

import json
import os

from stackctl.clients import proxy
from stackctl.clients.conflicts import WINS, home_of, jsonc, of_openai, proxied, text_of
from stackctl.clients.types import Client, Conflict, Start
from stackctl.errors import ConfigError

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

KEY = "STACKCTL_QWEN_KEY"
SETTINGS = "QWEN_CODE_SYSTEM_SETTINGS_PATH"
FILE = "qwen-settings.json"
_SYSTEM = "/etc/qwen-code/settings.json"  # where it would look by itself


def environment(
    facts: Mapping[str, object], key: str | None, environ: Mapping[str, str], private: str = ""
) -> dict[str, str]:
    """The variables; the settings file is in the directory `private`."""
    without = proxy.merged(environ, str(facts.get("host") or ""))
    return {
        **({} if key is None else {KEY: key}),
        SETTINGS: os.path.join(private, FILE),
        "QWEN_CODE_MAX_OUTPUT_TOKENS": str(facts["output_limit"]),
        "NO_PROXY": without,
        "no_proxy": without,
    }


def files(facts: Mapping[str, object], environ: Mapping[str, str], private: str) -> dict[str, str]:
    """The settings file: what an administrator's says, and the stack over it. The key is only referred to.

    Raises ConfigError when that file is not JSON.
    """
    path = os.path.join(private, FILE)
    named = environ.get(SETTINGS) or _SYSTEM
    system = {} if named == path else _read(named)
    return {path: json.dumps({**system, **settings(facts, system)}, indent=1) + "\n"}


def settings(facts: Mapping[str, object], below: Mapping[str, Any]) -> dict[str, Any]:
    """The sections that make it use the stack; of `below` only what stands in these sections is kept."""
    model = str(facts["served"] or facts["model"])
    generation: dict[str, Any] = {
        "timeout": 1000 * int(str(facts.get("timeout") or 600)),
        "samplingParams": {"max_tokens": facts["output_limit"]},
        "modalities": {"image": facts.get("vision") is not False},  # else it guesses by the model's name
    }
    if facts.get("window"):
        generation["contextWindowSize"] = facts["window"]
    row = {
        "id": model,
        "name": f"{model} on your own stack",
        "baseUrl": f"{facts['url']}/v1",
        "envKey": KEY,
        "generationConfig": generation,
    }
    return {
        "security": {**_section(below, "security"), "auth": {"selectedType": "openai"}},
        "model": {**_section(below, "model"), "name": model},
        "modelProviders": {"openai": [row]},
        "privacy": {**_section(below, "privacy"), "usageStatisticsEnabled": False},  # else it reports to its makers
        "general": {**_section(below, "general"), "enableAutoUpdate": False},
    }


def _section(below: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = below.get(name)
    return found if isinstance(found, dict) else {}


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Qwen Code's system settings {path} cannot be read as JSON: {error}", remedy="correct that file"
        ) from error
    return found if isinstance(found, dict) else {}


def settings_files(environ: Mapping[str, str], cwd: str) -> list[str]:
    """Its settings files: the user's own, then the project's."""
    return list(dict.fromkeys(os.path.join(each, ".qwen", "settings.json") for each in (home_of(environ), cwd)))


def conflicts(variables: Mapping[str, str], environ: Mapping[str, str], cwd: str) -> list[Conflict]:
    """What its other settings files say of the model: ours outranks them."""
    del variables
    found = [*proxied(environ), *of_openai(environ)]
    for path in settings_files(environ, cwd):
        said = jsonc(text_of(path))
        auth, model = (
            _section(_section(said, "security"), "auth").get("selectedType"),
            _section(said, "model").get("name"),
        )
        names = [f"the login to {auth}"] if auth not in {None, "openai"} else []
        names += [f"the model to {model}"] if model else []
        names += ["modelProviders"] if "openai" in _section(said, "modelProviders") else []
        if names:
            found.append(Conflict(path, f"sets {', '.join(names)}{WINS}", aside=True))
    return found


def start(facts: Mapping[str, object], variables: Mapping[str, str], arguments: Sequence[str], private: str) -> Start:
    """Nothing is added to the command line."""
    del variables, private
    notes = [
        f"your {word} wins over the stack's ({facts['served']})"
        for word in arguments
        if word.partition("=")[0] in {"-m", "--model", "--auth-type", "--openai-base-url", "--openai-api-key"}
    ]
    return Start(arguments, notes=notes)


CLIENT = Client(
    name="qwen",
    title="Qwen Code",
    program="qwen",
    install="npm install -g @qwen-code/qwen-code",
    oldest=(0, 15),
    key_variable=KEY,
    environment=environment,
    start=start,
    files=files,
    conflicts=conflicts,
    removed=("QWEN_DEFAULT_AUTH_TYPE",),
)
