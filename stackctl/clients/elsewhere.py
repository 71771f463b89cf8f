"""A gateway on another machine: its address is checked and it is asked what it serves. The key comes by file or variable."""

from __future__ import annotations

import os

from stackctl import addresses, probe
from stackctl.errors import ConfigError, NotRunningError, StackError
from stackctl.model import Probe

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

KEY = "STACKCTL_KEY"
_PATIENCE = 3.0  # seconds for the whole exchange: this may stand in a shell's start-up file
_UNKNOWN_OUTPUT = 8192  # tokens; fits every window that an agent can work in


def facts(url: str, key_file: str | None, environ: Mapping[str, str]) -> tuple[dict[str, Any], str, list[str]]:
    """The ClientFacts of that gateway as a mapping, the key, and what is to be said.

    Raises ConfigError for an address or key that cannot be used, NotRunningError when nobody answers there, and
    StackError when it is no gateway of ours.
    """
    base, host, notes = _address(url)
    key = _key(key_file, environ)
    answer = probe.request(
        Probe(
            f"{base}/v1/models",
            headers={"authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"},
            timeout=_PATIENCE,
        )
    )
    if answer.status == 0:
        raise NotRunningError(
            f"no gateway answers at {base}: {answer.error}", remedy="stackctl status   (on that machine)"
        )
    if answer.status in {401, 403}:
        raise StackError(
            f"the gateway at {base} refuses the key",
            remedy=f"take the key from that machine's `stackctl env` into ${KEY} or a file for --key-file",
        )
    rows = _rows(answer.json())
    if answer.status != 200 or not rows:
        raise StackError(
            f"what answers at {base} is not a gateway of stackctl (status {answer.status})",
            remedy="check the address; stackctl status on that machine shows it",
        )
    told = _told(base, key)
    if told:
        return {**told, "url": base, "host": host}, key, notes
    mine = next((row for row in rows if row["id"] == "claude-local"), rows[0])
    others = [row for row in rows if "claude" not in row["id"] and not row["id"].startswith("anthropic-local")]
    window, limit = mine.get("max_input_tokens"), mine.get("max_tokens")
    return (
        {
            "url": base,
            "host": host,
            "model": mine["id"],
            "served": (others or [mine])[0]["id"],
            "window": window if isinstance(window, int) else None,
            "output_limit": limit if isinstance(limit, int) else _UNKNOWN_OUTPUT,
            "timeout": 600,
        },
        key,
        notes,
    )


def _told(base: str, key: str) -> dict[str, Any]:
    """The ClientFacts, routes included, as the gateway itself tells them; empty where it is vLLM, or an older one."""
    probed = Probe(f"{base}/stackctl/client", headers={"authorization": f"Bearer {key}"}, timeout=_PATIENCE)
    found = probe.request(probed).json()
    return found if isinstance(found, dict) and {"model", "served", "output_limit", "routes"} <= found.keys() else {}


def _address(url: str) -> tuple[str, str, list[str]]:
    place = addresses.parts(url)
    host, port, path = place.hostname or "", place.port, place.path.rstrip("/")
    if place.username or place.password:  # not shown: terminals are recorded
        raise ConfigError("--url has a password in it", remedy=f"leave it out, and put the client key into ${KEY}")
    if not host or place.query or path not in {"", "/v1"}:
        raise ConfigError(f"--url {url!r} is not the address of a gateway", remedy="stackctl env --url http://BOX:4000")
    shown = f"[{host}]" if ":" in host else host
    base = f"{place.scheme}://{shown}{'' if port is None else f':{port}'}"
    notes = []
    if place.scheme == "http" and host not in {"127.0.0.1", "localhost", "::1"}:
        notes.append(f"http to {host}: the key and your prompts cross that network unencrypted")
    return base, host, notes


def _key(key_file: str | None, environ: Mapping[str, str]) -> str:
    key = environ.get(KEY, "")
    if key_file is not None:
        try:
            with open(os.path.expanduser(key_file), encoding="utf-8") as stream:
                key = stream.read(4096).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise ConfigError(
                f"the key file {key_file} cannot be read: {reason}", remedy="correct the path or its permissions"
            ) from error
    if not key or not key.isprintable() or not key.isascii() or " " in key:
        raise ConfigError(
            f"there is no usable key for --url in {key_file or '$' + KEY}",
            remedy=f"put the client key of that machine into ${KEY}, or name a file with --key-file",
        )
    return key


def _rows(found: Any) -> list[dict[str, Any]]:
    rows = found.get("data") if isinstance(found, dict) else None
    return [row for row in rows or () if isinstance(row, dict) and isinstance(row.get("id"), str)]
