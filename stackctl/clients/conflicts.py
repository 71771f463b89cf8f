"""What already stands on this machine and gets in the way of any client: proxies, Windows' side of WSL; and how to look.

Light: `stackctl env` loads it. Files are only read, never written, and no value of a key is ever in a message.
"""

from __future__ import annotations

import os

from stackctl.clients import proxy
from stackctl.clients.types import Conflict

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_LARGEST = 1 << 20  # bytes of a file of someone else's that are read
_SECRET = ("KEY", "TOKEN", "SECRET", "HEADERS")
YOURS = "your environment"
WINS = ": the stack's value wins here"


def proxied(environ: Mapping[str, str]) -> list[Conflict]:
    """A proxy that would get the requests to loopback too."""
    through = proxy.in_the_way(environ)
    return (
        [Conflict(YOURS, f"sets {through}, and NO_PROXY does not except loopback: it is added there")]
        if through
        else []
    )


def wsl_program(path: str, environ: Mapping[str, str]) -> bool:
    """Whether, under WSL, `path` is a program of the Windows side: it does not see this side's 127.0.0.1 nor its files."""
    inside = bool(environ.get("WSL_DISTRO_NAME")) or "microsoft" in text_of("/proc/sys/kernel/osrelease").lower()
    real = os.path.realpath(path)
    return inside and (real.startswith("/mnt/") or path.startswith("/mnt/") or real.lower().endswith(".exe"))


def home_of(environ: Mapping[str, str]) -> str:
    """The user's home directory."""
    return environ.get("HOME") or os.path.expanduser("~")


def text_of(path: str) -> str:
    """The file's text; empty when it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        raw = os.read(handle, _LARGEST)
        wide = raw[:2] in {b"\xff\xfe", b"\xfe\xff"}
        return raw.decode("utf-16" if wide else "utf-8", errors="replace").removeprefix(
            "\ufeff"
        )  # Windows editors' marks
    except OSError:
        return ""
    finally:
        os.close(handle)


def shown(name: str, value: str) -> str:
    """` to VALUE`, unless it may be a secret."""
    if any(word in name.replace("TOKENS", "") for word in _SECRET) or "@" in value or not value.isprintable():
        return ""
    return f" to {value[:80]}"


def of_openai(environ: Mapping[str, str]) -> list[Conflict]:
    """OpenAI's own variables: they do not count for a client that is told of a provider by name."""
    names = [name for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL") if environ.get(name)]
    what = f"sets {', '.join(names)}: not used for the stack, which has a provider and a key of its own"
    return [Conflict(YOURS, what, aside=True)] if names else []


def jsonc(text: str) -> dict[str, Any]:
    """A JSON object with comments and trailing commas; empty where there is none: its client complains itself."""
    import json
    import re

    def keep(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith('"') else found[1] or ""

    bare = re.sub(
        r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/',
        lambda found: found[0] if found[0].startswith('"') else "",
        text,
        flags=re.DOTALL,
    )
    bare = re.sub(r'"(?:\\.|[^"\\])*"|,(\s*[}\]])', keep, bare)
    try:
        value = json.loads(bare) if bare.strip() else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
