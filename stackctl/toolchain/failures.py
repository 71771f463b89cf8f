"""Why uv failed, in one sentence, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stackctl.errors import StackError
from stackctl.toolchain.sources import redact


class WrongFilesError(StackError):
    """The package sources do not have the locked files, or have others under their names."""


class NoTorchError(StackError):
    """No package source has the torch that the engine needs."""


@dataclass(frozen=True, slots=True)
class _Row:
    pattern: str  # searched in uv's output, any case; the first row that matches is the cause
    cause: str
    remedy: str
    error: type[StackError] = StackError


# Wordings of uv 0.9 to 0.13, each made on purpose (tests/unit/test_toolchain_failures.py).
_ROWS = (
    _Row(
        r"no space left on device|os error 28\b|quota exceeded|os error 122\b",
        "the disk is full",
        "free some space, or put the environments elsewhere with STACKCTL_ENVS (and uv's cache with UV_CACHE_DIR)",
    ),
    _Row(
        r"hash mismatch",
        "a file is not the one that was reviewed (its hash differs)",
        "a mirror may be broken or tampered with: try another index; if it stays, do not install it",
        WrongFilesError,
    ),
    _Row(
        r"torch(\{[^}]*\})?==\S*\+cpu|no version of torch|torch==.* has no (usable )?wheels",
        "no package source has torch for CPUs (2.13.0+cpu) for this Python",
        "add one that has it, for example find-links in pip.conf, or name an engine's own Python with `python:`",
        NoTorchError,
    ),
    _Row(
        r"invalid peer certificate|certificate verify failed|unknownissuer|self.signed certificate",
        "the package index shows a certificate that is not trusted",
        "name your CA bundle: pip config set global.cert FILE, or SSL_CERT_FILE",
    ),
    _Row(
        r"\b40[137]\b (unauthorized|forbidden|proxy)|http status client error \(40[137]",
        "the package index or proxy refuses access",
        "check the credentials in pip.conf, the netrc file or UV_INDEX_*_USERNAME and _PASSWORD",
    ),
    _Row(
        r"dns error|failed to lookup|tcp connect error|connection refused|network is unreachable|timed out"
        r"|error sending request|network was disabled|could not connect|connection reset",
        "the package index cannot be reached",
        "check the network and the proxy (HTTPS_PROXY), then try again: what was downloaded is kept",
    ),
    _Row(
        r"permission denied|read-only file system",
        "a directory cannot be written to",
        "see the lines above; uv's cache can be moved with UV_CACHE_DIR, the environments with STACKCTL_ENVS",
    ),
    _Row(
        r"no interpreter found|failed to (inspect|query) python",
        "the Python interpreter cannot be used",
        "install stackctl with a working Python 3.11 to 3.14",
    ),
    _Row(
        r"no (usable )?wheels|no solution found|not found in the (package registry|provided package locations)",
        "the package sources lack one of the pinned packages for this machine",
        "check that your index mirrors all of PyPI, or leave index-url out",
        WrongFilesError,
    ),
)


def explain(output: str, what: str) -> StackError:
    """The StackError for uv's output. Passwords in addresses are taken out; at most eight lines are kept as proof."""
    text = redact(output)
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    start = next((i for i, line in enumerate(lines) if re.match(r"\s*(error|\u00d7)", line)), max(0, len(lines) - 8))
    evidence = tuple(line[:300] for line in lines[start : start + 8])
    reason = "\n".join(lines[start:])
    for row in _ROWS:
        if re.search(row.pattern, reason, re.IGNORECASE):
            return row.error(f"cannot install {what}: {row.cause}", remedy=row.remedy, evidence=evidence)
    return StackError(f"cannot install {what}: uv failed", remedy="see the lines above", evidence=evidence)
