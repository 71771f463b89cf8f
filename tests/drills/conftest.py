"""Stacks of stand-ins, and homes of users, that are taken down whatever the drill did to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.drills.harness import Stack, stacks
from tests.fakes.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stack]]:
    yield from stacks(tmp_path, monkeypatch)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A user's home, which this process looks at as well."""
    found = Home(tmp_path)
    monkeypatch.setenv("STACKCTL_HOME", str(found.state))
    monkeypatch.setenv("STACKCTL_ENVS", str(found.envs))
    yield found
    found.close()
