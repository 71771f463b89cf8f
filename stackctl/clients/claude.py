"""Claude Code. Light: `stackctl env` loads it.

Each variable was tried with Claude Code 2.1.330. CLAUDE_CODE_MAX_CONTEXT_TOKENS counts for names that it does not know:
2.1.325 is the first to take it for `claude-local`, but 2.1.193 takes it for a name that does not begin with `claude`.
"""

from __future__ import annotations

from stackctl.clients import proxy
from stackctl.clients.claude_names import REMOVED, SWITCHES, TIERS, TOKEN, is_real, settings
from stackctl.clients.types import Client, Start

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from stackctl.clients.types import Conflict

__all__ = [
    "CLIENT",
    "REMOVED",
    "SWITCHES",
    "TIERS",
    "TOKEN",
    "adapt",
    "environment",
    "for_installed",
    "installed",
    "is_real",
    "settings",
    "start",
    "twin",
]
HONEST = (2, 1, 325)  # takes the true window for every name that is no model of Anthropic's
_BY_TWIN = (2, 1, 193)  # takes it for the twin's (measured: 2.1.193, 2.1.197, 2.1.290, 2.1.323; 2.1.150 takes none)


def twin(model: str) -> str:
    """The second name of a model of ours, which the gateway serves for Claude Code before 2.1.325."""
    return "anthropic-" + model.removeprefix("claude-")


def adapt(facts: Mapping[str, object], version: tuple[int, ...] | None) -> Mapping[str, object]:
    """The facts with the name for which this version takes the true window."""
    if version is None or not _BY_TWIN <= version < HONEST:
        return facts
    routes = [{**each, "model": twin(str(each["model"]))} for each in _routes(facts).values()]
    return {**facts, "model": twin(str(facts["model"])), "routes": routes}


def _routes(facts: Mapping[str, object]) -> dict[str, Mapping[str, Any]]:
    """The routes by name that Claude Code takes: those for kinds of work."""
    found: Any = facts.get("routes") or ()
    ours = {"subagent", *(name for names in TIERS.values() for name in names)}
    return {each["name"]: each for each in found if each["name"] in ours}


def _described(route: Mapping[str, Any] | None, real: str, of: str) -> str:
    if route is None:
        return f"{real} in place of {of}"
    who = f"{route['served']}{'' if route['engine'] else ', hosted,'} in place of {of}"
    return f"{who}; it gave no token when the stack started" if route["problem"] else who


def _limits(facts: Mapping[str, object], used: Sequence[Mapping[str, Any]]) -> tuple[int | None, int]:
    """Window and output limit, in tokens. Claude Code knows one of each for all names that are not Anthropic's (2.1.330),
    so the smallest window of those that it may use counts; the gateway lowers what is too long for one engine.
    """
    windows = [int(str(each["window"])) for each in (facts, *used) if each.get("window")]
    output = int(str(facts["output_limit"]))
    if not windows:
        return None, output
    return min(windows), min(output, max(1, min(windows) // 4)) if used else output


def installed(environ: Mapping[str, str]) -> tuple[int, ...] | None:
    """The version of the `claude` on PATH, read from where it stands; None where that does not show it."""
    from stackctl.clients import claude_version

    return claude_version.installed(environ)


def for_installed(facts: Mapping[str, object], environ: Mapping[str, str]) -> Mapping[str, object]:
    """The facts for the Claude Code that is on PATH."""
    return adapt(facts, installed(environ))


def conflicts(variables: Mapping[str, str], environ: Mapping[str, str], cwd: str) -> list[Conflict]:
    """What would make Claude Code do something else."""
    from stackctl.clients import claude_conflicts

    return claude_conflicts.found(variables, environ, cwd)


def environment(
    facts: Mapping[str, object], key: str | None, environ: Mapping[str, str], private: str = ""
) -> dict[str, str]:
    """The variables, by name.

    `facts` are the ClientFacts of the stack as a mapping (`url`, `model`, `window` and `output_limit` in tokens,
    `timeout` in seconds); `environ` is the user's own environment, whose NO_PROXY is added to. Without a `key`
    there is no token among them. `private` is not used: no variable refers to a file.
    """
    del private
    model = str(facts["model"])
    real = str(facts.get("served") or "") or model
    env = {"ANTHROPIC_BASE_URL": str(facts["url"])}  # without /v1: Claude Code adds it
    if key is not None:
        env[TOKEN] = key
    env["ANTHROPIC_MODEL"] = model
    routes = _routes(facts)
    for tier, names in TIERS.items():  # background work asks for haiku
        route = next((routes[name] for name in names if name in routes), None)
        env[f"ANTHROPIC_DEFAULT_{tier}_MODEL"] = str(route["model"]) if route else model
        env[f"ANTHROPIC_DEFAULT_{tier}_MODEL_DESCRIPTION"] = _described(route, real, tier.title())
    env["CLAUDE_CODE_SUBAGENT_MODEL"] = str(routes["subagent"]["model"]) if "subagent" in routes else model
    env["ANTHROPIC_CUSTOM_MODEL_OPTION"] = model  # the row of /model, which says what really answers
    env["ANTHROPIC_CUSTOM_MODEL_OPTION_NAME"] = model
    env["ANTHROPIC_CUSTOM_MODEL_OPTION_DESCRIPTION"] = f"{real} on your own stack"
    window, output_limit = _limits(facts, list(routes.values()))
    if window:
        env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(window)  # else it believes in 200k or 1M
    env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(output_limit)  # else 32000, refused by small windows
    env["CLAUDE_CODE_ATTRIBUTION_HEADER"] = "0"  # it changes with each prompt and defeats the prefix cache
    env["CLAUDE_CODE_TOTAL_TOKENS_REMINDER"] = "off"  # likewise
    env["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
    env["CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY"] = "1"  # /model lists what the gateway serves
    env["API_TIMEOUT_MS"] = str(1000 * int(str(facts.get("timeout") or 600)))
    env["API_FORCE_IDLE_TIMEOUT"] = "0"  # a local model may think in silence for minutes
    without = proxy.merged(environ, str(facts.get("host") or ""))
    return env | {"NO_PROXY": without, "no_proxy": without}


def start(facts: Mapping[str, object], variables: Mapping[str, str], arguments: Sequence[str], private: str) -> Start:
    """`--settings FILE`, which outranks the user's, the project's and the local settings."""
    from stackctl.clients import claude_start

    return claude_start.start(facts, variables, arguments, private)


CLIENT = Client(
    name="claude",
    title="Claude Code",
    program="claude",
    install="npm install -g @anthropic-ai/claude-code",
    oldest=(2, 1, 0),
    limits=(
        (
            _BY_TWIN,
            "believes in a window of 200k tokens and will not compact in time: 2.1.193 is the first that takes ours",
        ),
    ),
    key_variable=TOKEN,
    environment=environment,
    start=start,
    removed=REMOVED,
    version=installed,
    adapt=adapt,
    conflicts=conflicts,
    settings=settings,
)
