"""A stack with routes for the tests: two scripted engines and a provider on loopback behind one gateway."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from tests.fakes import hosted, stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = "acme/small"
KEY = "sk-canary-of-the-provider-5f0c"
SAYS = {"coder": "I am coder.", "small": "I am small.", "hosted": hosted.SAYS}
BEHIND = {  # who answers, by each name that clients ask for
    "claude-local": "coder",
    "claude-local-opus": "hosted",
    "claude-local-haiku": "small",
    "claude-local-subagent": "small",
    "anthropic-local-haiku": "small",
    "gpt-4o": "small",
    stack.LEGACY_ALIAS: "coder",
    stack.SERVED: "coder",
    SMALL: "small",
}


@dataclass(frozen=True)
class Routed:
    """The stack, its provider, and each engine's address, record and key."""

    chain: stack.Stack
    provider: hosted.Provider
    urls: dict[str, str]
    records: dict[str, Path]

    def services(self) -> dict[str, dict[str, Any]]:
        """What runs, by name."""
        return {each["name"]: each for each in self.chain.status()["services"]}

    def key(self, engine: str) -> str:
        """The key that an engine asks for."""
        return psutil.Process(self.services()[engine]["pid"]).environ()["VLLM_API_KEY"]


@contextlib.contextmanager
def routed(root: Path, provider: hosted.Provider, *, small: tuple[str, ...] = ()) -> Iterator[Routed]:
    """The stack, started and stopped by the product; `small` are faults of the second engine."""
    configs = {
        name: stack.scripted_config(root / name, [{"reply": [{"text": SAYS[name]}]}], faults=faults)
        for name, faults in (("coder", ()), ("small", small))
    }
    engines = {name: each["engines"]["main"] for name, each in configs.items()}
    engines["small"] |= {"model": SMALL, "max_model_len": stack.WINDOW // 2}
    opus = {"hosted": f"anthropic/{hosted.MODEL}", "api_key": "env/PROVIDER_KEY", "api_base": provider.url}
    config = {
        "engines": engines,
        "gateway": configs["coder"]["gateway"],
        "aliases": [stack.LEGACY_ALIAS],
        "routes": {"default": "coder", "haiku": "small", "subagent": "small", "opus": opus, "gpt-4o": "small"},
    }
    urls = {name: f"http://127.0.0.1:{engine['port']}" for name, engine in engines.items()}
    with stack.up(root, config, env={"PROVIDER_KEY": KEY}) as chain:
        yield Routed(chain, provider, urls, {name: root / name / "record.jsonl" for name in engines})
