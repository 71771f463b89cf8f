"""For all tests: signals as a terminal gives them, and no dependence on which Claude Code the machine has by chance."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    """A shell starts what runs in the background with these ignored, and every child would inherit that."""
    for each in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def claude_of_no_version(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The first `claude` on PATH is one that does not show its version: `env` gives old ones another model's name."""
    directory = tmp_path_factory.mktemp("programs")
    program = directory / "claude"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
        yield
