"""Numbers of bytes in words."""

from __future__ import annotations

import pytest

from stackctl import amounts


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1536, "1.5 kB"), (999_499, "999.5 kB"), (999_600, "1.0 MB"),
        (93_000_000, "93.0 MB"), (16_400_000_000, "16.4 GB"), (2_000_000_000_000, "2000.0 GB"), (85.4e6, "85.4 MB"),
    ],
)  # fmt: skip
def test_bytes_are_told_in_powers_of_ten(count: float, said: str) -> None:
    assert amounts.of_bytes(count) == said
