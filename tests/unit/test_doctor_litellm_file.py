"""A hand-written LiteLLM configuration that is spread over several files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stackctl.checks import litellm_file
from stackctl.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))


def written(root: Path, **files: str) -> str:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".yaml").write_text(text)
    return str(root / "main.yaml")


def test_what_is_included_counts_as_if_it_stood_there_and_lists_grow(tmp_path: Path) -> None:
    main = written(
        tmp_path,
        main="include: [sub/models.yaml, main.yaml]\nmodel_list: [{model_name: a}]\nlitellm_settings: {drop_params: true}\n",
        sub__models="include: [more.yaml]\nmodel_list: [{model_name: b}]\nlitellm_settings: {modify_params: true}\n",
        sub__more="model_list: [{model_name: c}]\n",
    )
    found = litellm_file.read(main)
    assert [each["model_name"] for each in found["model_list"]] == ["a", "b", "c"]
    assert found["litellm_settings"] == {"modify_params": True}
    assert "include" not in found


def test_a_nested_file_that_lies_beside_the_first_one_is_read_there(tmp_path: Path) -> None:
    main = written(tmp_path, main="include: [sub/models.yaml]\n", sub__models="include: [rows.yaml]\n", rows="a: 1\n")
    assert litellm_file.read(main) == {"a": 1}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"main": "include: [models.yaml]\n"}, "includes models.yaml, and there is no"),
        ({"main": "include: models.yaml\n"}, "include is not a list of files"),
        ({"main": "include: [models.yaml]\n", "models": "a: 1\nb: [\n"}, "models.yaml:3"),
        ({"main": "model_list:\n\t- model_name: a\n"}, "main.yaml:2: a tab stands before the first word"),
        ({"main": "- a\n"}, "main.yaml is not a mapping"),
        ({"main": "model_list: &a\n- *a\n"}, "nested too deeply"),
        ({"main": f"model_list: {'[' * 5000}{']' * 5000}\n"}, "nested too deeply"),
        ({"main": BOMB}, "unfold to more than"),
        ({"main": f"a: {'x' * (1 << 20)}\n"}, "is larger than 1 MiB"),
        ({"main": "a: 1\nb: \x00\n"}, "control characters are not allowed$"),
    ],
)
def test_what_litellm_could_not_read_is_said_with_its_file(tmp_path: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        litellm_file.read(written(tmp_path, **files))


def test_a_file_that_is_not_utf_8_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_bytes("a: 1\n# é\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"main\.yaml:2: not UTF-8"):
        litellm_file.read(str(tmp_path / "main.yaml"))
