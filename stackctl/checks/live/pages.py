"""Answers that no model server makes: the pages with which a reverse proxy or a web server refuses.

(nginx, Apache, HAProxy and Cloudflare send HTML; Envoy and Traefik a line of text; Caddy nothing but its name.)
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAGE = re.compile(r"^\s*(?:<!doctype html|<html|<head|<h1)", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)[^>]*>\s*(?P<text>[^<]{1,200}?)\s*</\1>", re.IGNORECASE)
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_LINE = re.compile(
    r"^(?:Bad Gateway|Gateway Time-?out|Service Unavailable|no healthy upstream|upstream (?:connect error|request timeout)"
    r"|error code: 5\d\d)\b",
    re.IGNORECASE,
)
_NAMES = (
    "nginx", "openresty", "cloudflare", "Apache", "HAProxy", "Caddy", "Traefik", "Envoy", "istio", "awselb", "squid",
    "tinyproxy", "privoxy",
)  # fmt: skip
_LEADS_OUT = {"squid", "tinyproxy", "privoxy"}  # forward proxies: a request for themselves is an error of the asker
_BY_NAME = {400, 404, 405}  # many a small server of models makes a page of its own of these
# What each of its own statuses means, for people.
MEANING: dict[int, str] = {
    400: "it does not understand the request",
    401: "it wants to be signed in to",
    403: "it does not let this address in",
    404: "it has nothing under that path",
    405: "it does not take such a request there",
    407: "it wants to be signed in to",
    408: "the request took too long to send",
    411: "it wants to know a request's length first",
    413: "it takes no request of that size",
    429: "it allows no more requests for now",
    500: "it failed by itself",
    502: "it cannot reach the server behind it",
    503: "it has no server behind it that works",
    504: "it waited in vain for the server behind it",
    # Cloudflare's own
    520: "what the server behind it answers makes no sense to it",
    521: "it cannot reach the server behind it",
    522: "it cannot reach the server behind it",
    523: "it cannot reach the server behind it",
    524: "it waited in vain for the server behind it",
    525: "it cannot speak TLS with the server behind it",
    526: "it does not trust the certificate of the server behind it",
    530: "it cannot find the server behind it",
}


def is_page(raw: str) -> bool:
    """Whether a text is an HTML page."""
    return _PAGE.match(raw) is not None


def title(raw: str) -> str:
    """What an HTML page says, on one line: its title, else its heading, else all of its text."""
    found = _TITLE.search(raw)
    said = found["text"] if found else _TAG.sub(" ", raw)
    return " ".join(html.unescape(said).split())


def proxy(status: int, raw: str, headers: Mapping[str, str]) -> str:
    """The name of the proxy that refused in a server's place (`a proxy` when it does not give one); empty for a server's own.

    `headers` have lower-case names.
    """
    if status not in MEANING:
        return ""
    server = headers.get("server", "")
    named = next((each for each in _NAMES if each.lower() in f"{raw} {server}".lower()), "")
    if not named and status in _BY_NAME:
        return ""
    if is_page(raw) or _LINE.match(raw) or (named and not raw.strip()):
        return named or "a proxy"
    return ""


def leads_out(proxy: str) -> bool:
    """Whether it is a forward proxy, which brings its users to other servers and has nothing itself."""
    return proxy in _LEADS_OUT
