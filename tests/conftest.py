"""For all tests: signals as a terminal gives them."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """A shell starts what runs in the background with these ignored, and every child would inherit that."""
    for each in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
