"""The longest time that a start may take."""

from __future__ import annotations

import pytest

from stackctl.errors import ConfigError
from stackctl.services import _start_cap


def test_it_is_two_hours_or_what_the_environment_says() -> None:
    assert _start_cap({}) == 7200
    assert _start_cap({"STACKCTL_START_CAP": "90"}) == 90


@pytest.mark.parametrize("given", ["", "0", "-1", "2h", "1.5"])
def test_anything_else_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="STACKCTL_START_CAP"):
        _start_cap({"STACKCTL_START_CAP": given})
