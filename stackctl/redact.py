"""Take secrets and terminal control out of log lines before anybody sees them."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

HIDDEN = "<redacted>"
_SHORTEST = 8  # characters: shorter "secrets" are words
_SECRET_NAME = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD)$")  # of a variable whose value is one

_PASSWORDS = (
    re.compile(r"(://[^\s/:@]*:)[^\s/@]+(?=@)"),
    re.compile(r"(://)[^\s/:@]{8,}(?=@)"),
)  # the second: a token alone
_PATTERNS = (
    *_PASSWORDS,
    re.compile(r"\b(sk-)[\w-]{8,}"),
    re.compile(r"\b(hf_)\w{16,}"),
    re.compile(r"(\b(?:Bearer|Basic) +)[\w.~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(api[-_]?key['\"]?\s*[:=]\s*\[?['\"]?)[^\s'\",\]}&]{8,}", re.IGNORECASE),
    re.compile(r"((?:password|passwd|secret|(?<![a-z_])token)['\"]?\s*[:=]\s*['\"]?)[^\s'\",}<&]{8,}", re.IGNORECASE),
    re.compile(
        r"\b(AKIA|gh[opsur]_|github_pat_|glpat-|xox[abp]-|AIza|eyJ)[\w.-]{12,}"
    ),  # of clouds, forges and signed tokens
    re.compile(r"()\b[0-9a-f]{64}\b"),  # what our own engine keys look like, also those of earlier runs
)
# What a file writes under a name of that kind, in YAML, JSON or a shell's words; a reference to the environment is none.
_WRITTEN = re.compile(
    r"""(?:key|token|secret|password)["']?[ \t]*[:=][ \t]*(?:"([^"\n]+)"|'([^'\n]+)'|([^\s"',}\]#][^\s,}\]]*))""",
    re.IGNORECASE,
)
_REFERENCES = ("os.environ/", "env/", "$")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def cleaner(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return what takes `secrets`, whatever looks like one, and control characters out of a line."""
    known = _known(secrets)

    def clean(line: str) -> str:
        line = line.rstrip("\r").rpartition("\r")[2]  # of a progress bar, what one would see last
        line = _CONTROL.sub("", _ESCAPES.sub("", line))
        for each in known:
            line = line.replace(each, HIDDEN)
        for pattern in _PATTERNS:
            line = pattern.sub(rf"\1{HIDDEN}", line)
        return line

    return clean


def hidden(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return what takes `secrets` and the passwords of addresses out of a text, and nothing else."""
    known = _known(secrets)

    def hide(text: str) -> str:
        for each in known:
            text = text.replace(each, HIDDEN)
        return passwords(text)

    return hide


def printable(text: str) -> str:
    """The text on one line, with what a terminal would obey written out: a server, a file's name or a key may hold anything."""
    if text.isprintable():
        return text
    line = " ".join(text.splitlines())
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)


def passwords(text: str) -> str:
    """The text without the passwords in its addresses."""
    for pattern in _PASSWORDS:
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


def _known(secrets: Iterable[str]) -> list[str]:
    """Those that are long enough to be secrets; the longest first, as one may hold another."""
    return sorted({each for each in secrets if len(each) >= _SHORTEST}, key=len, reverse=True)


def secrets_in(environ: Mapping[str, str]) -> set[str]:
    """The values of the variables that are named as secrets are."""
    return {value for name, value in environ.items() if _SECRET_NAME.search(name.upper())}


def secrets_written(text: str) -> set[str]:
    """The values in a configuration or a dotfile that are named as secrets are."""
    values = (next(filter(None, each.groups())) for each in _WRITTEN.finditer(text))
    return {each for each in values if not each.startswith(_REFERENCES)}


def secrets_of(pid: int) -> set[str]:
    """The secrets in the environment of a living process; none where it cannot be read."""
    return set(secrets_by_name(pid).values())


def secrets_by_name(pid: int) -> dict[str, str]:
    """`secrets_of`, by the names of the variables."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as environ:
        for variable in environ.read(1 << 20).split(b"\0"):
            name, _, value = variable.decode(errors="replace").partition("=")
            if _SECRET_NAME.search(name.upper()):
                found[name] = value
    return found
