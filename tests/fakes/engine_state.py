"""What the scripted engine knows of its requests: turns, counters, the prefix cache, its record."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

from tests.fakes import competent
from tests.fakes.script import DEFAULT, Json, Request, Script

if TYPE_CHECKING:
    from tests.fakes.engine_flags import Flags
    from tests.fakes.engine_tree import Tree

BLOCK = 16  # tokens of a block of vLLM's prefix cache


class Engine:
    """What the request handlers share."""

    def __init__(self, flags: Flags) -> None:
        self.flags = flags
        self.tree: Tree | None = None
        self.dead = False
        self.gone = threading.Event()  # EngineCore was reaped
        self.script = Script(flags.get("fake-script", os.environ.get("FAKE_ENGINE_SCRIPT", "")) or None)
        self._record = flags.get("fake-record", os.environ.get("FAKE_ENGINE_RECORD", ""))
        self._lock = threading.Lock()
        self.turn = threading.Lock()
        self._prompts: list[list[str]] = []
        self._inside = 0  # requests
        self.counters = dict.fromkeys(("prompt", "generated", "queries", "hits", "success", "running"), 0)
        self.requests: dict[
            tuple[str, str, str], int
        ] = {}  # handler, method and status class of vLLM's http_requests_total
        self.answers_from = 0.0

    def record(self, entry: Json) -> None:
        """Append one request to the record."""
        if self._record:
            with self._lock, open(self._record, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")

    def count(self, **more: int) -> None:
        """Add to the counters of /metrics."""
        with self._lock:
            for name, value in more.items():
                self.counters[name] += value

    def enter(self) -> int:
        """A request has come: how many others are being answered."""
        with self._lock:
            self._inside += 1
            return self._inside - 1

    def leave(self) -> None:
        """It has been answered."""
        with self._lock:
            self._inside -= 1

    def cached(self, prompt: list[str]) -> int:
        """How many tokens of `prompt` are in the prefix cache; from now on all of it is, in whole blocks."""
        best = 0
        with self._lock:
            for old in self._prompts:
                same = next(
                    (i for i, (a, b) in enumerate(zip(old, prompt, strict=False)) if a != b), min(len(old), len(prompt))
                )
                best = max(best, min(same, len(prompt) - 1) // BLOCK * BLOCK)
            self._prompts = [] if "no-cache" in self.flags.faults else [*self._prompts[-50:], prompt]
        self.count(queries=len(prompt), hits=best)
        return best

    def turn_for(self, request: Request) -> Json:
        """What is answered: a turn of the script, or what a model that can use tools says by itself."""
        turn = self.script.choose(request)
        if turn is DEFAULT and self.flags.has("fake-competent"):
            return competent.turn(request, thinks=self.flags.has("reasoning-parser") or "thinks" in self.flags.faults)
        return turn

    def step(self) -> None:
        """One token through EngineCore and Worker."""
        if self.tree is not None:
            self.tree.step()

    def answered(self, path: str, method: str, status: int) -> None:
        """Count one answered request, as prometheus-fastapi-instrumentator does for vLLM."""
        if path.startswith("/v1"):
            key = path, method, f"{status // 100}xx"
            with self._lock:
                self.requests[key] = self.requests.get(key, 0) + 1

    def metrics(self) -> str:
        """Prometheus' text, with vLLM's names."""
        names = {
            "vllm:num_requests_running": "running",
            "vllm:prompt_tokens_total": "prompt",
            "vllm:generation_tokens_total": "generated",
            "vllm:prefix_cache_queries_total": "queries",
            "vllm:prefix_cache_hits_total": "hits",
            'vllm:request_success_total{finished_reason="stop"}': "success",
        }
        label = f'engine="0",model_name="{self.flags.names[0]}"'
        rows = ["vllm:num_requests_waiting{" + label + "} 0.0"]
        for name, counter in names.items():
            bare, _, own = name.partition("{")
            rows.append(f"{bare}{{{label}{',' + own[:-1] if own else ''}}} {float(self.counters[counter])}")
        with self._lock:
            for (path, method, status), count in self.requests.items():
                rows.append(
                    f'http_requests_total{{handler="{path}",method="{method}",status="{status}"}} {float(count)}'
                )
        return "\n".join(rows) + "\n"
