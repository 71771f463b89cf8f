"""Nothing in the stack connects or resolves off loopback: run where there is only loopback, the kernel counts every try."""

from pathlib import Path

import pytest

from tests.fakes import offline, stack

pytestmark = pytest.mark.e2e

NONE = dict.fromkeys(offline.COUNTERS, 0)
REFUSED = {("/v1/messages", 400), ("/v1/chat/completions", 400), ("/v1/embeddings", 404), ("wrong key", 403)}


def check(asked: list[list[object]]) -> None:
    statuses = {(path, status) for path, status in asked}
    assert {(path, status) for path, status in statuses if status != 200} <= REFUSED
    assert {"/v1/messages?beta=true", "/v1/messages/count_tokens", "/v1/chat/completions", "/v1/responses"} <= {
        path for path, status in statuses if status == 200
    }


def test_the_kernel_counts_what_tries_to_leave() -> None:
    found = offline.run("attempts", timeout=180)
    for name, counter in (
        ("tcp4", "Ip:OutNoRoutes"),
        ("udp4", "Ip:OutNoRoutes"),
        ("tcp6", "Ip6OutNoRoutes"),
        ("udp6", "Ip6OutNoRoutes"),
    ):
        assert found[name] == {**NONE, counter: 1}
    assert sum(found["lookup"].values()) > 0


@pytest.mark.usefixtures("gateway_python")
@pytest.mark.drill
def test_litellm_before_the_scripted_engine_stays_on_loopback() -> None:
    found = offline.run("scripted", timeout=180)
    check(found["asked"])
    assert found["counted"] == NONE
    print("drill S9: LiteLLM, every protocol: 0 attempts to leave loopback, counted by the kernel")


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("gateway_python", "embedded_model")
def test_the_real_chain_stays_on_loopback(claude_code: Path) -> None:
    found = offline.run("real", str(claude_code), timeout=560)
    check(found["asked"])
    assert found["counted"] == NONE
    assert found["with_claude"] == NONE
    assert stack.ALIAS in found["claude"]["out"], found["claude"]  # it did ask, and was answered
