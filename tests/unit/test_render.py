"""Rendered files: escaped, checked after rendering, and never without their owner's knowledge overwritten."""

from __future__ import annotations

import dataclasses
import os
import stat
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stackctl import paths, render, rendered
from stackctl.errors import ConfigError
from tests.examples import EXAMPLES, golden, planned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("name", sorted(os.listdir(EXAMPLES)))
def test_an_example_renders_as_shown(name: str) -> None:
    with open(os.path.join(EXAMPLES, name, "expected.txt"), encoding="utf-8") as stream:
        assert golden(name) == stream.read()


def test_the_recipe_is_all_there() -> None:
    config = yaml.safe_load(render.render(planned("recipe"))[0].text)
    rows = {row["model_name"]: row["litellm_params"] for row in config["model_list"]}
    assert rows["claude-3-5-sonnet-20241022"] == rows["claude-local"]
    assert rows["claude-local"]["api_base"] == "http://127.0.0.1:8000"
    assert rows["anthropic-local"] == rows["claude-local"]  # for Claude Code before 2.1.325
    assert config["litellm_settings"]["drop_params"] is True
    assert config["litellm_settings"]["request_timeout"] == 600
    assert config["litellm_settings"]["num_retries"] == 0


@settings(deadline=None)
@given(served=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60))
def test_any_model_name_comes_out_as_it_went_in(served: str) -> None:
    made = planned("remote")
    hostile = dataclasses.replace(made, engines=(dataclasses.replace(made.engine, served=served),))
    config = yaml.safe_load(render.render(hostile)[0].text)
    assert config["model_list"][-1]["litellm_params"]["model"] == f"hosted_vllm/{served}"
    assert len(config["model_list"]) == (3 if served not in {"claude-local", "anthropic-local"} else 2)


def override(text: str) -> None:
    directory = os.path.join(paths.config_dir(), "templates")
    os.makedirs(directory)
    with open(os.path.join(directory, render.TEMPLATE), "w", encoding="utf-8") as stream:
        stream.write(text)


def shipped() -> str:
    return render.shipped(render.TEMPLATE)


BROKEN: dict[str, tuple[Callable[[], str], str]] = {
    "broken yaml": (lambda: shipped() + "\n  - {", "broken YAML"),
    "unknown variable": (lambda: "{{ nothing.there }}", "cannot be rendered"),
    "template syntax": (lambda: "{% for %}", "cannot be rendered"),
    "escape from the sandbox": (lambda: "{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot be rendered"),
    "drops the models": (lambda: shipped().replace("models %}", "models[1:] %}"), "drops the model `claude-local`"),
    "sends it elsewhere": (
        lambda: shipped().replace("{{ model.api_base | yaml }}", "http://evil.example"),
        "somewhere else",
    ),
    "a second row of the same name": (
        lambda: shipped().replace(
            "\nlitellm_settings:",
            "\n  - model_name: claude-local\n    litellm_params: {model: openai/x, api_base: http://evil.example}\n\nlitellm_settings:",
        ),
        "somewhere else",
    ),
    "no master key": (lambda: shipped().replace("os.environ/LITELLM_MASTER_KEY", "sk-1234"), "master_key"),
    "no authentication": (lambda: shipped().replace("custom_auth:", "other_auth:"), "custom_auth"),
    "no limits": (lambda: shipped().replace("callbacks:", "success_callback:"), "callbacks"),
    "a key in the file": (lambda: shipped().replace("{{ model.api_key | yaml }}", "sk-secret"), "a key into the file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_override_that_spoils_the_file_is_refused(case: str) -> None:
    text, says = BROKEN[case]
    override(text())
    with pytest.raises(ConfigError, match=says) as caught:
        render.render(planned("recipe"))
    assert caught.value.remedy


def test_an_override_that_keeps_the_promises_is_used() -> None:
    override(shipped() + "\n# mine\n")
    assert render.render(planned("recipe"))[0].text.endswith("# mine\n")


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    directory = str(tmp_path / "home" / "gateway")
    before = os.umask(0)
    try:
        rendered.write(render.render(planned("recipe")), directory)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    for name in os.listdir(directory):
        assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) == 0o600


def test_a_hand_edited_file_is_kept_aside(tmp_path: Path) -> None:
    directory = str(tmp_path / "home" / "gateway")
    files = render.render(planned("recipe"))
    rendered.write(files, directory)
    path = os.path.join(directory, render.CONFIG_FILE)
    rendered.write(files, directory)
    assert not os.path.exists(f"{path}.edited")
    with open(path, "a", encoding="utf-8") as stream:
        stream.write("# my change\n")
    assert rendered.hand_edited(directory) == [render.CONFIG_FILE]
    rendered.write(files, directory)
    with open(f"{path}.edited", encoding="utf-8") as stream:
        assert stream.read().endswith("# my change\n")
    with open(path, encoding="utf-8") as stream:
        assert stream.read() == files[0].text
