"""Wheels made on the spot, for a real installer to install; also one of a small LiteLLM."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def wheel(root: Path, name: str, version: str, files: dict[str, str]) -> str:
    """Make a wheel in `root`/wheels; return its sha256."""
    (root / "wheels").mkdir(exist_ok=True)
    path = root / "wheels" / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(
        f"{each},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for each, text in content.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(each, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def litellm(root: Path, version: str, *, works: bool = True) -> str:
    """Make the wheel of a gateway that hands everything on to the engine; one that does not work answers 500.

    `/version` tells which one it is. Returns its sha256.
    """
    server = _GATEWAY.replace("VERSION", repr(version)).replace("WORKS", repr(works))
    return wheel(
        root,
        "litellm",
        version,
        {"litellm/__init__.py": "", "litellm/proxy/__init__.py": "", "litellm/proxy/proxy_cli.py": server},
    )


_GATEWAY = """
import http.client, os, re, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open(given["--config"]) as stream:
    port = int(re.search(r"api_base: *[\\"']?http://127.0.0.1:(\\d+)", stream.read())[1])


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, VERSION.encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).replace(b'"claude-local"', b'"scripted"')
        if not WORKS:
            self.answer(500, b'{"error": {"message": "this version is broken"}}')
            return
        engine = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        key = os.environ["ANTHROPIC_AUTH_TOKEN"]
        engine.request("POST", self.path, body, {"Content-Type": "application/json", "Authorization": f"Bearer {key}"})
        got = engine.getresponse()
        self.answer(got.status, got.read())

    def log_message(self, *words):
        pass


ThreadingHTTPServer((given["--host"], int(given["--port"])), Handler).serve_forever()
"""
