"""What of real vLLM answers without the key: what the README says, and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from stackctl.beside_vllm.stackctl_engine import OPEN
from tests.fakes import stack

if TYPE_CHECKING:
    from tests.fakes.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.drill]


def test_without_the_key_vllm_shows_that_it_is_well_and_nothing_else(real_stack: Stack) -> None:
    routes = real_stack.ask_engine("/openapi.json").json["paths"]
    assert "/invocations" in routes
    open_ones = set()
    for path, methods in routes.items():
        for method in methods:
            body: dict[str, str] | None = {} if method == "post" else None
            url = real_stack.engine_url + re.sub("{.*?}", "x", path)
            if stack.ask(url, body, method=method.upper()).status != 401:
                open_ones.add(path)
    assert open_ones <= OPEN
    readme = (stack.ROOT / "README.md").read_text()
    assert all(f"`{path}`" in readme for path in OPEN if path.strip("/") and not path.endswith("/"))
    for path in ("/openapi.json", "/docs", "/static/x", "/v1/models"):
        assert stack.ask(real_stack.engine_url + path).status == 401
    origin = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    granted = stack.ask(f"{real_stack.engine_url}/invocations", method="OPTIONS", headers=origin)
    assert granted.status == 401
    assert "access-control-allow-origin" not in granted.headers
    asked = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    assert real_stack.ask_engine("/invocations", asked).status == 200  # with the key it is all there
    print(
        f"drill S11: {len(routes)} paths of vLLM, {len(open_ones)} answer without the key: {', '.join(sorted(open_ones))}"
    )
