"""Which part of a prompt changes from turn to turn, as real vLLM renders it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from stackctl.checks.endpoints import Endpoint
from stackctl.checks.live import caching, rendering
from stackctl.checks.live.peer import Peer
from stackctl.checks.live.quiet import Quiet

if TYPE_CHECKING:
    from tests.fakes.stack import Stack

pytestmark = pytest.mark.e2e


def turn(clock: str, *more: dict[str, str]) -> dict[str, Any]:
    """A turn whose system prompt begins with the time of day, as some callbacks and templates write it."""
    system = f"It is {clock}. " + " ".join(f"rule {number}" for number in range(40))
    return {"system": [{"type": "text", "text": system}], "messages": [{"role": "user", "content": "Say one."}, *more]}


def test_what_differs_between_two_turns_is_shown_as_real_vllm_renders_it(real_stack: Stack) -> None:
    served = real_stack.status()["services"][0]["model"]
    end = Endpoint("engine", "main", real_stack.engine_url, served, key=real_stack.engine_key)
    engine = Peer(end, time.monotonic() + 60, lock=Quiet(), billing=False)
    (said,) = rendering.differing(engine, [turn("12:00:01"), turn("12:00:02")])
    assert "and then differ: '1. rule 0" in said
    assert " and '2. rule 0" in said
    more = ({"role": "assistant", "content": "one"}, {"role": "user", "content": "Say two."})
    (said,) = rendering.differing(engine, [turn("12:00:01"), turn("12:00:01", *more)])
    assert "the difference is made before the engine, or its cache is off" in said
    assert list(caching.second_turn(engine, None)) == []
