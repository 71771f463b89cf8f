"""The environments that the end-to-end tests share, and the stacks that are broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import embedded_model, gateway_python, shared_envs
from tests.faults.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["embedded_model", "gateway_python", "shared_envs"]


@pytest.fixture(scope="session")
def stage(
    tmp_path_factory: pytest.TempPathFactory,
    embedded_model: str,
    gateway_python: str,
) -> Iterator[Stage]:
    """Where stacks are broken; both environments are installed, so that doctor can look into them."""
    made = Stage(tmp_path_factory.mktemp("faults").resolve())
    yield made
    made.close()
