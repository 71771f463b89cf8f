"""The environment that makes Claude Code talk to a stack. Light: `stackctl env` loads it.

Each variable was tried with Claude Code 2.1.330 (2.1.197 ignores CLAUDE_CODE_MAX_CONTEXT_TOKENS).
"""

from __future__ import annotations

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CONFLICTS = ("ANTHROPIC_API_KEY",)  # beside the token, Claude Code sends both and warns of a conflict
TOKEN = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105 - a variable's name


def environment(client: Mapping[str, object], key: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables, by name.

    `client` are the ClientFacts of the stack as a mapping (`url`, `model`, `window` and `output_limit` in tokens,
    `timeout` in seconds); `environ` is the user's own environment, whose NO_PROXY is added to. Without a `key`
    there is no token among them.
    """
    model = str(client["model"])
    env = {"ANTHROPIC_BASE_URL": str(client["url"])}  # without /v1: Claude Code adds it
    if key is not None:
        env[TOKEN] = key
    env["ANTHROPIC_MODEL"] = model
    for tier in ("OPUS", "SONNET", "HAIKU", "FABLE"):  # background work asks for these names
        env[f"ANTHROPIC_DEFAULT_{tier}_MODEL"] = model
    env["CLAUDE_CODE_SUBAGENT_MODEL"] = model
    if client.get("window"):
        env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(client["window"])  # else it believes in 200k or 1M
    env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(client["output_limit"])  # else 32000, refused by small windows
    env["CLAUDE_CODE_ATTRIBUTION_HEADER"] = "0"  # it changes with each prompt and defeats the prefix cache
    env["CLAUDE_CODE_TOTAL_TOKENS_REMINDER"] = "off"  # likewise
    env["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
    env["CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY"] = "1"  # /model lists what the gateway serves
    env["API_TIMEOUT_MS"] = str(1000 * int(str(client.get("timeout") or 600)))
    env["API_FORCE_IDLE_TIMEOUT"] = "0"  # a local model may think in silence for minutes
    merged = no_proxy(environ)
    return env | {"NO_PROXY": merged, "no_proxy": merged}


def no_proxy(environ: Mapping[str, str]) -> str:
    """What stands in NO_PROXY and no_proxy, and loopback."""
    entries: dict[str, None] = {}
    for variable in ("NO_PROXY", "no_proxy"):
        for entry in environ.get(variable, "").split(","):
            if entry.strip():
                entries[entry.strip()] = None
    return ",".join({**entries, **dict.fromkeys(LOOPBACK)})
