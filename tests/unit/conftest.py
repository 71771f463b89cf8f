"""For unit tests: no dependence on what listens on this machine by chance."""

from __future__ import annotations

import pytest

from stackctl.checks import lanes


@pytest.fixture(autouse=True)
def no_litellm_where_nobody_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test, or a developer, may run a LiteLLM on its usual port."""
    monkeypatch.setattr(lanes, "LITELLM", "http://127.0.0.1:9")
