"""A new client key behind real LiteLLM: shells that hold the old one are told what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackctl.model import Probe
from stackctl.probe import request
from tests.fakes.home import Home

pytestmark = pytest.mark.e2e


def test_after_a_rotation_the_old_key_is_refused_with_words(
    tmp_path: Path, gateway_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    home.envs = Path(gateway_python).parents[2]
    monkeypatch.setenv("STACKCTL_HOME", str(home.state))
    try:
        url = home.up(kind="litellm")["gateway_url"]
        key = home.state / "stacks" / "default" / "client.key"
        old = key.read_text().strip()
        home.run("key", "rotate", "--restart", "-c", "default.yaml")
        answers = [
            request(Probe(f"{url}/v1/models", headers={"Authorization": f"Bearer {each}"}, timeout=10))
            for each in (key.read_text().strip(), old)
        ]
        assert [each.status for each in answers] == [200, 403]
        assert b"stackctl env" in answers[1].body
    finally:
        home.close()
