"""A release's source distribution, from the user's own package sources. Nothing in it is built or run.

Installers only take source distributions to build them, so uv is asked where the file is, and it is fetched here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from stackctl import process
from stackctl.errors import StackError
from stackctl.toolchain import failures
from stackctl.toolchain.interpreter import choose
from stackctl.toolchain.sources import Sources, redact, sources
from stackctl.toolchain.uv import uv_binary

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOKUP = 300.0  # seconds
_TIMEOUT = 30.0  # seconds without a byte
_LONGEST = 3600.0  # seconds for all of it
_CHUNK = 1024 * 1024
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")


def download(package: str, version: str, sha256: str, target: str, what: str) -> None:
    """Write the source distribution of `package` to the new file `target`, which has the hash `sha256`.

    `what` it is for stands in the messages. Raises StackError when no source has it, or has another file.
    """
    found = sources()
    try:
        _take(_place(package, version, found, what), sha256, target, found, what)
    except StackError as first:
        if not found.extra:
            raise
        try:  # an extra index that holds a part of the release hides the main one
            plain = found.without_extra()
            _take(_place(package, version, plain, what), sha256, target, plain, what)
        except StackError:
            raise first from None


def _place(package: str, version: str, found: Sources, what: str) -> str:
    """Where uv says that the file is: a standard lock file (PEP 751) names it without taking it."""
    with tempfile.TemporaryDirectory() as own:
        asked, lock = os.path.join(own, "asked.in"), os.path.join(own, "pylock.toml")
        with open(asked, "w", encoding="utf-8") as stream:
            stream.write(f"{package}=={version}\n")
        # --no-deps: uv needs no metadata then, and so builds nothing
        argv = ["pip", "compile", asked, "--format", "pylock.toml", "--output-file", lock, "--no-deps", "--universal"]
        argv += ["--python", choose().path, "--quiet", *found.flags]
        done = process.run([uv_binary(), *argv], env=found.env, cwd=own, timeout=_LOOKUP)
        if done.returncode != 0:
            raise failures.explain(done.output, what)
        with open(lock, "rb") as found_lock:
            packages: list[dict[str, Any]] = tomllib.load(found_lock).get("packages", [])
        sdist: dict[str, Any] = next((each["sdist"] for each in packages if "sdist" in each), {})
        if "path" in sdist:
            return "file://" + os.path.abspath(os.path.join(own, sdist["path"]))
    url = sdist.get("url")
    if not isinstance(url, str):
        raise StackError(
            f"cannot install {what}: your package sources do not have the source distribution {package} {version}",
            remedy="check that your index mirrors source distributions too",
        )
    return url


def _take(url: str, sha256: str, target: str, found: Sources, what: str) -> None:
    digest = hashlib.sha256()
    ends = time.monotonic() + _LONGEST
    request, opener = _request(url, found.env)
    try:
        with opener.open(request, timeout=_TIMEOUT) as answer, open(target, "wb") as stream:
            while chunk := answer.read(_CHUNK):
                digest.update(chunk)
                stream.write(chunk)
                if time.monotonic() > ends:
                    raise StackError(f"cannot install {what}: the download took more than an hour", remedy="try again")
    except (OSError, ValueError) as error:  # URLError, HTTPError, a line cut off, a full disk
        code = getattr(error, "code", 0)
        reason = f"status {code}" if code else str(getattr(error, "reason", error) or type(error).__name__)
        raise StackError(
            f"cannot install {what}: {os.path.basename(urlsplit(url).path)} cannot be fetched: {redact(reason)}",
            remedy="check the network and the proxy (HTTPS_PROXY), then try again",
            evidence=(redact(url),),
        ) from error
    if digest.hexdigest() != sha256:
        os.unlink(target)
        raise StackError(
            f"cannot install {what}: a file is not the one that was reviewed (its hash differs)",
            remedy="a mirror may be broken or tampered with: try another index; if it stays, do not install it",
            evidence=(redact(url), f"expected sha256 {sha256}", f"received sha256 {digest.hexdigest()}"),
        )


def _request(url: str, env: Mapping[str, str]) -> tuple[urllib.request.Request, urllib.request.OpenerDirector]:
    """The request, with the name and password that the user gave for this server, and what sends it."""
    parts = urlsplit(url)
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(plain, headers={"User-Agent": "stackctl"})
    if user := _user(url, env):
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    context = ssl.create_default_context(cafile=env.get("SSL_CERT_FILE") or None)
    if parts.hostname in env.get("UV_INSECURE_HOST", "").split():  # the content is held by its hash
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    proxies = {kind: env[name] for kind in ("http", "https") for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY") if env.get(name)}  # fmt: skip
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
    )
    return request, opener


def _user(url: str, env: Mapping[str, str]) -> str:
    """`name:password` for a server: those in the address, or in that of an index on the same server."""
    wanted = urlsplit(url)
    for each in (url, *(word for name in _INDEXES for word in env.get(name, "").split())):
        parts = urlsplit(each.partition("=")[2] if "://" in each.partition("=")[2] else each)
        if parts.username and (parts.hostname, parts.port) == (wanted.hostname, wanted.port):
            return f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return ""
