"""OpenCode: its whole configuration can come by one variable, which is merged over the user's files. Tried with 1.18.33."""

from __future__ import annotations

import json
import os

from stackctl.clients import opencode_files, proxy
from stackctl.clients.conflicts import WINS, of_openai, proxied
from stackctl.clients.types import Client, Conflict, Start
from stackctl.errors import ConfigError

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

KEY = "STACKCTL_OPENCODE_KEY"
CONFIG = "OPENCODE_CONFIG_CONTENT"
PROVIDER = "stackctl"


def environment(
    facts: Mapping[str, object], key: str | None, environ: Mapping[str, str], private: str = ""
) -> dict[str, str]:
    """The variables. Raises ConfigError when the user's own OPENCODE_CONFIG_CONTENT is not JSON."""
    del private
    without = proxy.merged(environ, str(facts.get("host") or ""))
    own, ours = _own(environ), config(facts)  # theirs, with what would keep their agents from our model taken out
    ours = _merged(
        ours,
        opencode_files.overrides([own, *opencode_files.read(environ, os.getcwd()).values()], ours["model"], PROVIDER),
    )
    return {
        **({} if key is None else {KEY: key}),
        CONFIG: json.dumps(_merged(own, ours), separators=(",", ":")),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",  # models.dev: the one model that counts is named here
        "NO_PROXY": without,
        "no_proxy": without,
    }


def config(facts: Mapping[str, object]) -> dict[str, Any]:
    """The provider and its models with their true limits: the default one for everything, for small work the route of
    haiku (or background) where there is one. The key is only referred to.
    """
    model = str(facts["served"] or facts["model"])
    models = {model: _row(facts, f"{model} on your own stack")}
    small = model
    routes: Any = facts.get("routes") or ()
    for each in routes:
        # by the model's own name its engine is asked in OpenAI's protocol, without translation
        asked = each["served"] if each["engine"] and each["served"] != model else each["model"]
        where = "on your own stack" if each["engine"] else "hosted"
        models.setdefault(asked, _row(each, f"{each['served']} {where} ({each['name']})"))
        if each["name"] in {"haiku", "background"}:
            small = asked
    provider = {
        "npm": "@ai-sdk/openai-compatible",  # built into OpenCode: nothing is downloaded
        "name": "stackctl",
        "options": {
            "baseURL": f"{facts['url']}/v1",
            "apiKey": f"{{env:{KEY}}}",
            "timeout": 1000 * int(str(facts.get("timeout") or 600)),
        },
        "models": models,
    }
    names = {"model": f"{PROVIDER}/{model}", "small_model": f"{PROVIDER}/{small}"}
    return {"provider": {PROVIDER: provider}, **names, "share": "disabled"}


def _row(facts: Mapping[str, object], name: str) -> dict[str, Any]:
    """One model, by the facts of the stack or of a route."""
    row: dict[str, Any] = {"name": name, "tool_call": True}
    sees = facts.get("vision") is not False  # of a model that nobody knows, the gateway finds out
    row |= {"attachment": sees, "modalities": {"input": ["text", "image"] if sees else ["text"], "output": ["text"]}}
    if facts.get("window") and facts.get("output_limit"):
        row["limit"] = {"context": facts["window"], "output": facts["output_limit"]}
    return row


def _own(environ: Mapping[str, str]) -> dict[str, Any]:
    text = environ.get(CONFIG, "")
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"${CONFIG} in your environment is not a JSON object", remedy=f"unset {CONFIG}")
    return found


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    result = dict(old)
    for key, value in new.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def conflicts(variables: Mapping[str, str], environ: Mapping[str, str], cwd: str) -> list[Conflict]:
    """What its configuration files say of models and providers: ours is merged over them."""
    del variables
    found = [*proxied(environ), *of_openai(environ)]
    for path, said in opencode_files.read(environ, cwd).items():
        names = opencode_files.about_models(said, PROVIDER)
        if names:
            found.append(Conflict(path, f"sets {', '.join(names)}{WINS}", aside=True))
    return found


def start(facts: Mapping[str, object], variables: Mapping[str, str], arguments: Sequence[str], private: str) -> Start:
    """Nothing is added to the command line."""
    del variables, private
    notes = [
        f"your {word} wins over {PROVIDER}/{facts['served']}"
        for word in arguments
        if word in {"-m", "--model"} or word.startswith("--model=")
    ]
    return Start(arguments, notes=notes)


CLIENT = Client(
    name="opencode",
    title="OpenCode",
    program="opencode",
    install="npm install -g opencode-ai",
    oldest=(1, 0),
    key_variable=KEY,
    environment=environment,
    start=start,
    conflicts=conflicts,
)
