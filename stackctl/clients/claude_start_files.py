"""What a shell's start-up file says of ANTHROPIC_BASE_URL, line by line. Light: `stackctl env` loads it."""

from __future__ import annotations

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "ANTHROPIC_BASE_URL"
_LINE = (
    r"\s*(?P<how>export\s+|declare\s+-\w*x\w*\s+|typeset\s+-\w*x\w*\s+|set\s+-\w*x\w*\s+|set\s+(?:-\w+\s+)*-x\s+|setenv\s+"
    r"|alias\s+claude=['\"]?|)(?:\w+=\S*\s+)*" + _NAME + r"[= ]\s*(?P<value>\"[^\"]*\"|'[^']*'|[^\s;'\"]*)(?P<rest>.*)"
)  # fmt: skip


def lines(text: str, url: str, *, known: bool) -> Iterator[tuple[int, str]]:
    """(line number, what it does) of each line that leads Claude Code away from `url`, or means it and does not reach it.

    `known` says whether the variable is in the environment already. What is computed there, or stands before one command
    only (`alias other=...`, `NAME=value claude`), is the user's own business.
    """
    if _NAME not in text:
        return
    import re

    exported = re.search(rf"\b(?:export|-\w*x)\s[^\n]*\b{_NAME}\b|\bset -a\b|allexport", text)
    for number, line in enumerate(text.splitlines(), 1):
        found = re.fullmatch(_LINE, line)
        if found is None or "stackctl" in line or "$" in found["value"] or not found["value"].strip("\"'"):
            continue
        alias, rest = found["how"].startswith("alias"), found["rest"].strip()
        command = next((each for each in rest.split() if "=" not in each), "")
        if not found["how"] and command and rest[0] not in ";&|#}":
            continue  # for one command
        another = _plain(found["value"]) != _plain(url)
        if another:
            yield (
                number,
                f"sets {_NAME} to another address"
                + (" for the alias `claude`" if alias else ": new shells start with it"),
            )
        elif not found["how"] and not exported and not known:
            yield number, f"assigns {_NAME} without `export`: Claude Code does not get it"


def _plain(address: str) -> str:
    return address.strip("\"' ").rstrip("/").replace("//localhost", "//127.0.0.1")
