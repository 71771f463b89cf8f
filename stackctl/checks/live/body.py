"""An answer's bytes as they arrive, as a client reads them: unzipped, and as events whatever the headers call them."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import http.client

_ZIPPED = {"gzip": 47, "x-gzip": 47, "deflate": 47}  # zlib's `wbits`: gzip or zlib, by the data's own header
_EVENTS = (b"event:", b"data:", b":")  # how a stream of events begins


class Body:
    """The body of `answer`, whose headers are here. A broken zip is a ValueError when it is read."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer
        encoding = (answer.getheader("Content-Encoding") or "").strip().lower()
        self._zip = zlib.decompressobj(_ZIPPED[encoding]) if encoding in _ZIPPED else None
        self._first = b""

    @property
    def streams(self) -> bool:
        """Whether it is a stream of events; waits for its first bytes where the header does not say so."""
        if "event-stream" in (self._answer.getheader("Content-Type") or ""):
            return True
        self._first = self._first or self.read1(65536)
        return self._first.lstrip().startswith(_EVENTS)

    def read1(self, most: int) -> bytes:
        """What has arrived, at least one byte; nothing at the end."""
        if self._first:
            first, self._first = self._first, b""
            return first
        while part := self._answer.read1(most):
            try:
                plain = part if self._zip is None else self._zip.decompress(part)
            except zlib.error as error:
                raise ValueError(f"not what its Content-Encoding says ({error})") from error
            if plain:
                return plain
        return b""
