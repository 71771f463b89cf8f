"""Real Claude Code in a broken case: it fails as its users see it, and after a repair it answers through the stack."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from tests.fakes import claude, hosted, stack

if TYPE_CHECKING:
    from tests.faults.case import Case

_NO_CLOUD = {"AWS_EC2_METADATA_DISABLED": "true"}  # whose machine this is has nothing to do with it


def fails(case: Case, given: dict[str, Any]) -> None:
    """Real Claude Code fails in what was broken and `says` so. A repair is proved by its answer through the stack.

    With `stranger`, the project's settings lead it to another server that lives; `sourced` is a start file of the home
    that a new shell reads first; `while` are faults of the engine that are gone again when doctor looks; `retries` is how
    often Claude Code asks anew.
    """
    program = claude.install()
    case.path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    asked = _stranger(case) if given.get("stranger") else []

    def ask() -> dict[str, Any]:
        shell = _new_shell(case, given["sourced"]) if "sourced" in given else case.environment()
        env = {**shell, **_NO_CLOUD, "CLAUDE_CODE_MAX_RETRIES": str(given.get("retries", 1))}
        return claude.run(program, "Say pong.", home=case.home, cwd=case.project, env=env).result

    if "while" in given:
        stack.ask(f"{case.words['engine']}/fake/faults", {"faults": given["while"]})
    said = ask()
    if "while" in given:
        stack.ask(f"{case.words['engine']}/fake/faults", {"faults": []})
    assert said["is_error"], said
    assert given["says"] in said["result"], said
    assert bool(asked) is bool(given.get("stranger")), asked

    def answers() -> bool:
        after = ask()
        return not after["is_error"] and "Say pong." in str(after["result"])

    case.proof = answers


def _stranger(case: Case) -> list[Any]:
    """What another server that lives is asked, to which the project's settings lead."""
    other = case.after.enter_context(hosted.provider("sk-of-another"))
    settings = case.project / ".claude" / "settings.local.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": other.url}}))
    return other.asked


def _new_shell(case: Case, file: str) -> dict[str, str]:
    """The variables of a shell that this one starts, and which reads `file` of the home."""
    script = ["sh", "-c", f'. "$HOME/{file}"; exec env -0']
    found = subprocess.run(script, env=case.environment(), capture_output=True, check=True, timeout=60)
    return dict(each.split("=", 1) for each in os.fsdecode(found.stdout).removesuffix("\0").split("\0"))
