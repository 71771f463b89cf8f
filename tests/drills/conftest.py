"""One fixture: stacks of stand-ins that are taken down whatever the drill did to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.drills.harness import Stack, stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stack]]:
    yield from stacks(tmp_path, monkeypatch)
