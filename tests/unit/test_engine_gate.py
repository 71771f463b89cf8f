"""The gate in front of vLLM, asked as uvicorn asks it; on real vLLM in tests/e2e/test_engine_unkeyed.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stackctl.beside_vllm.stackctl_engine import OPEN, Gate

KEY = "the-engine-key"


def ask(method: str, path: str, *headers: tuple[bytes, bytes], kind: str = "http") -> list[dict[str, Any]]:
    """What is sent back; a single `{"type": "through"}` for a request that reaches vLLM."""
    sent: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "through"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    scope = {"type": kind, "method": method, "path": path, "headers": list(headers)}
    asyncio.run(Gate(app)(scope, receive, send))
    return sent


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)


def through(sent: list[dict[str, Any]]) -> bool:
    assert sent == [{"type": "through"}] or sent[0].get("status") == 401 or sent[0]["type"] == "websocket.close"
    return sent == [{"type": "through"}]


def test_the_key_opens_everything() -> None:
    for scheme in (b"Bearer ", b"bearer "):
        assert through(ask("POST", "/invocations", (b"authorization", scheme + KEY.encode())))
    assert through(ask("GET", "/", kind="lifespan"))


@pytest.mark.parametrize(
    "path",
    ["/v1/messages", "/invocations", "/tokenize", "/pause", "/openapi.json", "/health/", "//health", "/metrics/x"],
)
def test_without_it_everything_else_is_closed(path: str) -> None:
    wrong = [
        (),
        ((b"authorization", b"Bearer x"),),
        ((b"authorization", KEY.encode()),),
        ((b"x-api-key", KEY.encode()),),
    ]
    twice = ((b"authorization", b"Bearer " + KEY.encode()), (b"authorization", b"Bearer x"))
    for headers in (*wrong, twice):
        for method in ("GET", "POST", "OPTIONS"):
            assert not through(ask(method, path, *headers))
    assert ask("GET", path, kind="websocket") == [{"type": "websocket.close", "code": 1008}]


def test_health_and_counters_are_open_to_look_at_and_to_nothing_else() -> None:
    for path in OPEN:
        assert through(ask("GET", path))
        assert through(ask("HEAD", path))
        assert not through(ask("POST", path))


def test_an_engine_without_a_key_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY")
    with pytest.raises(KeyError):
        ask("GET", "/health")
