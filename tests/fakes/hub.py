"""A small Hugging Face hub on loopback: model information, file tree, files by redirect to a second server (its CDN).

It answers as the real one where the client's behaviour hangs on it: commit and ETag headers, `X-Linked-*` on the
redirect of large files, ranges, `X-Error-Code`, 401 for what an anonymous user may not see. Faults are set as fields.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 1024 * 1024  # bytes from which a file is stored apart, as with Git LFS


@dataclass
class Repo:
    """One model; `gated` needs `token`, `private` is unknown to those without it."""

    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    token: str = ""


@dataclass
class Request:
    """What the servers saw."""

    server: str
    method: str
    path: str
    authorization: str
    range: str


@dataclass
class Hub:
    """Start with `with Hub({...}) as hub:`; `hub.url` is for HF_ENDPOINT."""

    repos: dict[str, Repo]
    cut_after: int = 0  # bytes of a large file after which the connection is dropped, each time
    cuts: int = 0  # how many times
    corrupt: bool = False  # one byte of a large file is another
    no_ranges: bool = False
    rate: int = 0  # bytes per second of a large file; 0: as fast as it goes
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._api = _start(self, "hub")
        self._cdn = _start(self, "cdn")
        self.url = f"http://127.0.0.1:{self._api.server_address[1]}"
        self.cdn = f"http://127.0.0.1:{self._cdn.server_address[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (self._api, self._cdn):
            server.shutdown()
            server.server_close()

    def ranges(self) -> list[str]:
        """The ranges that were asked of the CDN, in order; empty strings for whole files."""
        return [each.range for each in self.requests if each.server == "cdn" and each.method == "GET"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: Hub
    role: str

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that were killed hang up: no news."""


def _start(hub: Hub, role: str) -> _Server:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hub, server.role = hub, role
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.hub.requests.append(
            Request(
                self.server.role,
                self.command,
                path,
                self.headers.get("Authorization", ""),
                self.headers.get("Range", ""),
            )
        )
        if self.server.role == "cdn":
            self._blob(path.lstrip("/"))
            return
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/(revision|tree)/(.+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = api or file
        assert found, path
        repo = self._repo(found[1])
        if repo is None:
            return
        if api:
            if api[3] and api[3] not in {"main", COMMIT}:
                self._refuse(404, "RevisionNotFound", f"Invalid rev id: {api[3]}")
                return
            self._json(_tree(repo) if api[2] == "tree" else _info(api[1], repo))
        elif file:
            self._file(repo, file[3])

    def _repo(self, name: str) -> Repo | None:
        repo = self.server.hub.repos.get(name)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token == "hf_wrong":
            self._refuse(401, "", "Invalid user access token: invalid token")
            return None
        if repo is None or (repo.private and token != repo.token):
            self._refuse(404 if token else 401, "RepoNotFound" if token else "", "Repository not found")
            return None
        # As on the real hub, a gated model's file list is public and its files are not.
        if repo.gated and token != repo.token and "/resolve/" in self.path:
            self._refuse(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.")
            return None
        return repo

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, data: object) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, repo: Repo, name: str) -> None:
        data = repo.files.get(name)
        if data is None:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        large = len(data) >= LARGE
        sha = hashlib.sha256(data).hexdigest()
        self.send_response(302 if large else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{sha if large else _blob_id(data)}"')
        if large:
            self.send_header("Location", f"{self.server.hub.cdn}/{sha}")
            self.send_header("X-Linked-Size", str(len(data)))
            self.send_header("X-Linked-Etag", f'"{sha}"')
        self.send_header("Content-Length", "0" if large else str(len(data)))
        self.end_headers()
        if not large and self.command != "HEAD":
            self.wfile.write(data)

    def _blob(self, sha: str) -> None:
        hub = self.server.hub
        data = next(
            body
            for repo in hub.repos.values()
            for body in repo.files.values()
            if hashlib.sha256(body).hexdigest() == sha
        )
        if hub.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and not hub.no_ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = 0
        step = max(1, hub.rate // 20) if hub.rate else 256 * 1024
        while start + sent < len(data):
            if hub.cut_after and hub.cuts and sent >= hub.cut_after:
                hub.cuts -= 1
                self.close_connection = True
                return
            self.wfile.write(data[start + sent : start + sent + step])
            sent += step
            if hub.rate:
                time.sleep(0.05)


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _lfs(data: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}


def _info(name: str, repo: Repo) -> dict[str, object]:
    siblings = [
        {
            "rfilename": path,
            "size": len(data),
            "blobId": _blob_id(data),
            **({"lfs": _lfs(data)} if len(data) >= LARGE else {}),
        }
        for path, data in repo.files.items()
    ]
    return {
        "_id": "1",
        "id": name,
        "modelId": name,
        "sha": COMMIT,
        "siblings": siblings,
        "tags": [],
        "private": repo.private,
    }


def _tree(repo: Repo) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for path, data in repo.files.items():
        entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": _blob_id(data)}
        if len(data) >= LARGE:
            lfs = _lfs(data)
            entry["lfs"] = {"oid": lfs["sha256"], "size": lfs["size"], "pointerSize": 134}
        found.append(entry)
    return found
