"""What an engine that already runs says of itself."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from stackctl import addresses, probe
from stackctl.errors import ConfigError
from stackctl.model import Probe
from stackctl.plan import RemoteFacts

if TYPE_CHECKING:
    from stackctl.config import EngineConfig, HostedConfig

_SECONDS = 5.0


def api_key(given: EngineConfig | HostedConfig, who: str = "the engine") -> str | None:
    """The key that `api_key: env/NAME` refers to, None without one. Raises ConfigError when NAME is not set."""
    if given.api_key is None:
        return None
    variable = given.api_key.removeprefix("env/")
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(f"{who}'s key is read from ${variable}, which is not set", remedy=f"export {variable}=...")
    return value


def discover(engine: EngineConfig) -> RemoteFacts | None:
    """Ask the engine at `url:` for its model, window and protocol; None when it does not answer."""
    base = addresses.root(str(engine.url))
    key = api_key(engine)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    models = probe.request(Probe(f"{base}/v1/models", headers=headers, timeout=_SECONDS))
    if not models.ok:
        return None
    try:
        rows = json.loads(models.body)["data"]
        row = next((each for each in rows if each["id"] == engine.model), rows[0])
        served, window = str(row["id"]), row.get("max_model_len")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
    body = {"model": engine.model or served, "messages": [{"role": "user", "content": "x"}]}
    count = probe.request(Probe(f"{base}/v1/messages/count_tokens", "POST", headers, body, _SECONDS))
    return RemoteFacts(
        served, window if isinstance(window, int) else None, speaks_messages=count.status not in {404, 405}
    )
