"""A .env file that a hand-started LiteLLM would read is told, by the names in it and never by a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackctl.checks.facts import Facts
from stackctl.checks.handmade import dotenv
from stackctl.config import Flags

if TYPE_CHECKING:
    from pathlib import Path


def facts(directory: Path, **environ: str) -> Facts:
    return Facts(environ=environ, home="/", cwd="/", flags=Flags(), static=True, hand_file=str(directory / "litellm_config.yaml"))  # fmt: skip


def test_a_file_that_matters_is_told_without_values(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("export OPENAI_API_KEY=sk-canary\nCOLOUR=red\nlitellm_master_key = sk-canary\n")
    (found,) = dotenv.dot_env(facts(tmp_path))
    assert found.id == "gateway.dot-env"
    assert found.evidence == (f"{tmp_path}/.env sets OPENAI_API_KEY, litellm_master_key",)
    assert "canary" not in repr(found)


def test_one_that_does_not_matter_or_is_not_read_says_nothing(tmp_path: Path) -> None:
    assert not list(dotenv.dot_env(facts(tmp_path)))
    (tmp_path / ".env").write_text("COLOUR=red\n")
    assert not list(dotenv.dot_env(facts(tmp_path)))
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-canary\n")
    assert not list(dotenv.dot_env(facts(tmp_path, LITELLM_MODE="PRODUCTION")))
