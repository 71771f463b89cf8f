"""What of real vLLM answers without the key: closed, or written down in the README; never anything else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.fakes import stack

if TYPE_CHECKING:
    from tests.fakes.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.drill]

_CLOSED = {401, 403, 404, 405}


def test_what_vllm_answers_without_the_key_stands_in_the_readme(real_stack: Stack) -> None:
    routes = stack.ask(f"{real_stack.engine_url}/openapi.json").json["paths"]
    open_ones = set()
    for path, methods in routes.items():
        for method in methods:
            body: dict[str, str] | None = {} if method == "post" else None
            answer = stack.ask(f"{real_stack.engine_url}{re.sub('{.*?}', 'x', path)}", body, method=method.upper())
            if answer.status not in _CLOSED:
                open_ones.add(path)
    readme = (stack.ROOT / "README.md").read_text()
    said = set(re.findall(r"`(/[a-z_/]+)`", readme[readme.index("no key protects") :].split("\n-")[0]))
    unsaid = sorted(open_ones - said)
    assert unsaid == [], f"without a key vLLM also answers {unsaid}"
    assert not [each for each in open_ones if each.startswith("/v1")]
    print(f"drill S11: {len(routes)} paths, {len(open_ones)} answer without the key, all written down")
