"""An address is one that can be asked, or none."""

from __future__ import annotations

import pytest

from stackctl import addresses


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://127.0.0.1:8000/v1", "127.0.0.1", 8000),
        ("https://box.example", "box.example", None),
        ("HTTP://[::1]:4000", "::1", 4000),
        ("http://my_box:1", "my_box", 1),
    ],
)
def test_an_address_has_its_parts(url: str, host: str, port: int | None) -> None:
    found = addresses.parts(url)
    assert (found.hostname, found.port) == (host, port)


@pytest.mark.parametrize(
    "url",
    [
        "", "h:80", "ftp://h", "http://", "http:///x", "http://[::1", "http://h:99999", "http://h:abc", "http://h 1",
        "http://h\n1", "http://h\x1b[31m", "http://$(id)", "http://h\\x",
    ],
)  # fmt: skip
def test_what_is_none_has_no_parts(url: str) -> None:
    found = addresses.parts(url)
    assert not found.hostname
    assert found.port is None
