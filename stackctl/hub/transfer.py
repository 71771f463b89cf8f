"""One large file from the hub into its cache: resumed where an earlier run stopped, checked against its hash.

The hub's library starts a file anew in each process (a download killed at 39 of 40 GB is lost), and compares only
its size. What is written here is what it finds and links: `blobs/<sha256>`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stackctl import amounts
from stackctl.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIES = 5  # in a row without a byte
_TIMEOUT = 30.0  # seconds without a byte
_WINDOW = 10.0  # seconds that the rate is taken over
_SHA256 = 64  # digits


class CancelledError(Exception):
    """The user does not want the download any more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is: bytes, and bytes per second of late. `note` replaces the numbers in `text`."""

    bytes_done: int
    bytes_total: int
    rate: float
    note: str = ""

    @property
    def text(self) -> str:
        """For people: `Downloading 1.2 GB of 4.5 GB, 85.0 MB/s, 40 s left`."""
        if self.note:
            return self.note
        done = f"Downloading {amounts.of_bytes(self.bytes_done)} of {amounts.of_bytes(self.bytes_total)}"
        if self.rate <= 0 or self.bytes_done >= self.bytes_total:
            return done
        left = (self.bytes_total - self.bytes_done) / self.rate
        when = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min"
        return f"{done}, {amounts.of_bytes(self.rate)}/s, {when} left"


class Meter:
    """Counts bytes from several threads; what was there before counts as done, not as fast."""

    def __init__(self, total: int) -> None:
        self.cancelled = False
        self._total = total
        self._done = 0
        self._recent: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._received = 0

    def had(self, count: int) -> None:
        """Count bytes that did not come over the network now (negative: they turned out to be useless)."""
        self._done += count

    def got(self, count: int) -> None:
        """Count received bytes; raises CancelledError when the download is not wanted any more."""
        if self.cancelled:
            raise CancelledError
        self._done += count
        self._received += count

    def progress(self) -> Progress:
        """The state now; called by one thread only."""
        now = time.monotonic()
        self._recent.append((now, self._received))
        while len(self._recent) > 2 and now - self._recent[0][0] > _WINDOW:
            self._recent.popleft()
        (then, before) = self._recent[0]
        rate = (self._received - before) / (now - then) if now > then else 0.0
        return Progress(min(self._done, self._total), self._total, rate)


def download(
    library: Any, url: str, headers: dict[str, str], target: str, *, size: int, digest: str, meter: Meter
) -> None:
    """Fetch `url` to `target`, resuming `target`.partial; the file has its name only when the hash is right.

    `digest` is as in `digest_of`. `library` is huggingface_hub.utils: its HTTP client knows proxies and certificates. Raises StackError when the hash differs, else what the client raises.
    """
    partial = f"{target}.stackctl.partial"
    have = os.path.getsize(partial) if os.path.exists(partial) else 0
    if have > size:
        os.unlink(partial)
        have = 0
    meter.had(have)
    tries = _TRIES
    while have < size:
        try:
            received = _rest(library, url, headers, partial, have, meter)
        except Exception as error:
            if not _is_transient(error):
                raise
            received = max(0, os.path.getsize(partial) - have) if os.path.exists(partial) else 0
            tries = _TRIES if received else tries - 1
            if tries == 0:
                raise
            time.sleep(min(1.0, 0.1 * 2 ** (_TRIES - tries)))
        else:
            tries = tries if received else tries - 1
            if tries == 0:
                raise StackError(f"{url} ends before its {size} bytes", remedy="try again later")
        have = os.path.getsize(partial) if os.path.exists(partial) else 0
    found = digest_of(partial, digest)
    if found != digest:
        os.unlink(partial)
        raise StackError(
            f"a file of the model is not the one that the hub names (its hash differs): {os.path.basename(url)}",
            remedy="try again; if it stays, the mirror or a proxy changes files: try without HF_ENDPOINT",
            evidence=(f"expected {digest}", f"received {found}"),
        )
    os.replace(partial, target)


def digest_of(path: str, like: str) -> str:
    """The hash of a file as the hub counts it: SHA-256 (64 digits) of a large one, git's own (40) of a small one."""
    with open(path, "rb") as stream:
        if len(like) == _SHA256:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        head = f"blob {os.fstat(stream.fileno()).st_size}\0".encode()
        found = hashlib.sha1(head, usedforsecurity=False)
        while chunk := stream.read(1 << 20):
            found.update(chunk)
        return found.hexdigest()


def _rest(library: Any, url: str, headers: dict[str, str], partial: str, have: int, meter: Meter) -> int:
    """Append what is missing after `have` bytes; return how many came."""
    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    received = 0
    with library.get_session().stream("GET", url, headers=asked, follow_redirects=True, timeout=_TIMEOUT) as answer:
        if answer.status_code >= 400:
            answer.read()
            library.hf_raise_for_status(answer)
        resumed = answer.status_code == 206
        if have and not resumed:  # a mirror without ranges: all of it comes again
            meter.had(-have)
        with open(partial, "ab" if resumed else "wb") as stream:
            for chunk in answer.iter_bytes():  # as it comes: a slow line must not delay Ctrl-C
                stream.write(chunk)
                received += len(chunk)
                meter.got(len(chunk))
    return received


def _is_transient(error: Exception) -> bool:
    """Whether trying again may help: the network, or a server that is busy (names, as httpx has two packages)."""
    names = {each.__name__ for each in type(error).__mro__}
    if "TransportError" in names:
        return True
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return bool(status >= 500 or status == 429)


def run(work: Callable[[], str], meter: Meter, on_progress: Callable[[Progress], None], every: float = 0.5) -> str:
    """Run `work` in a thread and report from this one, so that Ctrl-C is heard at once; return what it returns."""
    import threading

    results: list[str] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, name="download", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(every)
            on_progress(meter.progress())
    except BaseException:
        meter.cancelled = True  # each thread stops at its next chunk
        thread.join(5)
        raise
    if errors:
        raise errors[0]
    return results[0]
