"""Who is to blame when no token comes: of what doctor found, that which concerns the engine that was asked."""

from __future__ import annotations

import pytest

from stackctl import blame


def finding(cause: str, *, hop: str = "engine", status: str = "fail") -> dict[str, str]:
    return {"cause": cause, "hop": hop, "status": status}


OTHER = finding("the engine `a` was started without tool calls")
AWAY = finding("the engine `b` does not answer at http://127.0.0.1:9: connection refused")
GATEWAY = finding("the gateway has no such route", hop="gateway")
CLIENT = finding("this shell's key is another", hop="client")
ROUTE = "no token comes through the route `haiku` from the engine `b`: 503"


@pytest.mark.parametrize(
    ("findings", "message", "culprit"),
    [
        ([OTHER, AWAY], ROUTE, AWAY),
        ([OTHER, GATEWAY], ROUTE, GATEWAY),
        ([OTHER], ROUTE, None),
        ([finding("little memory", hop="machine", status="warn"), CLIENT, OTHER], "no token comes through it", OTHER),
        ([CLIENT], "no token comes through it", None),
        ([], ROUTE, None),
    ],
)
def test_the_engine_that_gives_no_token_is_the_one_to_blame(
    findings: list[dict[str, str]], message: str, culprit: dict[str, str] | None
) -> None:
    assert blame.culprit(findings, message) == culprit
