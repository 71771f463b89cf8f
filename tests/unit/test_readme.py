"""What the README tells people to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from stackctl.cli import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
SHELL = "\n".join(re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
TYPED = sorted({
    *re.findall(r"(?:^|\$\(|`)stackctl ([a-z][^`\n#)]*)", SHELL + "\n" + README, re.MULTILINE),
})  # fmt: skip


@pytest.mark.parametrize("words", [each.strip() for each in TYPED])
def test_a_command_of_the_readme_is_taken(words: str) -> None:
    name, *arguments = shlex.split(words)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert name in commands
    commands[name].make_context(name, arguments)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?\bmake ([a-z]+)", README))))
def test_a_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#]+)\)", README))
def test_a_link_of_the_readme_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()
