"""Where packages come from: pip's configuration as uv's environment."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stackctl.toolchain.sources import pip_options, redact, sources

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment whose home and machine-wide XDG directories are empty, and where no other file is read."""
    empty = tmp_path / "empty.conf"
    empty.write_text("")
    (tmp_path / "xdg").mkdir()
    return {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin",
        "XDG_CONFIG_DIRS": str(tmp_path / "xdg"),
        "PIP_CONFIG_FILE": "/dev/null",
    }


def with_file(env: dict[str, str], tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "own.conf"
    path.write_text(text)
    return {**env, "PIP_CONFIG_FILE": str(path)}


def test_nothing_configured_means_no_source_of_ones_own(env: dict[str, str], tmp_path: Path) -> None:
    found = sources(env, prefix=str(tmp_path))
    assert not found.custom
    assert "UV_INDEX_STRATEGY" not in found.env
    assert found.flags == ()


def test_each_pip_option_becomes_uvs_variable(env: dict[str, str], tmp_path: Path) -> None:
    text = """
[global]
index-url = https://mirror.test/simple
extra-index-url =
    https://one.test/simple
    https://two.test/simple
find_links = /wheels
    https://files.test/a,b
cert = ~/ca.pem
client-cert = /c.pem
trusted-host = one.test two.test
proxy = http://proxy.test:3128
timeout = 180
"""
    found = sources(with_file(env, tmp_path, text), prefix=str(tmp_path))
    assert found.custom
    assert found.env["UV_DEFAULT_INDEX"] == "https://mirror.test/simple"
    assert found.env["UV_INDEX"] == "https://one.test/simple https://two.test/simple"
    assert found.env["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert found.env["UV_FIND_LINKS"] == "/wheels https://files.test/a%2Cb"
    assert found.env["SSL_CERT_FILE"].endswith("/ca.pem")
    assert "~" not in found.env["SSL_CERT_FILE"]
    assert found.env["SSL_CLIENT_CERT"] == "/c.pem"
    assert found.env["UV_INSECURE_HOST"] == "one.test two.test"
    assert found.env["HTTPS_PROXY"] == found.env["HTTP_PROXY"] == "http://proxy.test:3128"
    assert found.env["UV_HTTP_TIMEOUT"] == "180"


def test_a_variable_beats_the_install_section_which_beats_global(env: dict[str, str], tmp_path: Path) -> None:
    text = "[install]\nfind-links = /install\nindex-url = https://install.test\n[global]\nfind-links = /global\nindex-url = https://global.test\n"
    found = pip_options({**with_file(env, tmp_path, text), "PIP_FIND_LINKS": "/variable"}, str(tmp_path))
    assert found["find-links"] == "/variable"
    assert found["index-url"] == "https://install.test"


def test_an_empty_variable_is_no_variable(env: dict[str, str], tmp_path: Path) -> None:
    assert "find-links" not in pip_options({**env, "PIP_FIND_LINKS": ""}, str(tmp_path))


def test_the_order_of_files_is_pips_own(env: dict[str, str], tmp_path: Path) -> None:
    """Asked of pip itself, with the same files."""
    home, prefix = tmp_path, tmp_path / "prefix"
    places = {
        "xdg/pip/pip.conf": "global",
        ".pip/pip.conf": "legacy",
        ".config/pip/pip.conf": "user",
    }
    for number, (place, name) in enumerate(places.items()):
        path = home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"k{each} = {name}" for each in range(number, 3)]
        path.write_text("[global]\n" + "\n".join(lines) + "\n")
    own = {key: value for key, value in env.items() if key != "PIP_CONFIG_FILE"}
    ours = {key: value for key, value in pip_options(own, str(prefix)).items() if key in {"k0", "k1", "k2"}}
    theirs = {
        key: subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", f"global.{key}"],
            env=own,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for key in ("k1", "k2")  # `config get` of pip 26 does not find what only the first global file has
    }
    assert theirs == {key: ours[key] for key in theirs}
    assert ours == {"k0": "global", "k1": "legacy", "k2": "user"}


def test_dev_null_switches_every_file_off(env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / ".config" / "pip" / "pip.conf"
    path.parent.mkdir(parents=True)
    path.write_text("[global]\nfind-links = /wheels\n")
    assert "find-links" not in pip_options(env, str(tmp_path))


def test_what_was_told_to_uv_wins(env: dict[str, str], tmp_path: Path) -> None:
    own = {
        **env,
        "PIP_INDEX_URL": "https://pip.test",
        "UV_DEFAULT_INDEX": "https://uv.test",
        "UV_INDEX_STRATEGY": "first-index",
        "PIP_EXTRA_INDEX_URL": "https://x.test",
    }
    found = sources(own, prefix=str(tmp_path))
    assert found.env["UV_DEFAULT_INDEX"] == "https://uv.test"
    assert found.env["UV_INDEX_STRATEGY"] == "first-index"


def test_a_proxy_of_the_environment_wins_over_pips(env: dict[str, str], tmp_path: Path) -> None:
    found = sources({**env, "https_proxy": "http://own.test", "PIP_PROXY": "http://pip.test"}, prefix=str(tmp_path))
    assert "HTTPS_PROXY" not in found.env
    assert found.env["https_proxy"] == "http://own.test"


def test_no_index_is_kept(env: dict[str, str], tmp_path: Path) -> None:
    found = sources({**env, "PIP_NO_INDEX": "1"}, prefix=str(tmp_path))
    assert found.flags == ("--no-index",)
    assert found.custom


@pytest.mark.parametrize(
    "text", ['[[index]]\nurl = "https://x.test"', 'find-links = ["/w"]', 'index-url = "https://x.test"']
)
def test_a_uv_toml_with_sources_counts_as_the_users_own(env: dict[str, str], tmp_path: Path, text: str) -> None:
    path = tmp_path / ".config" / "uv" / "uv.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert sources(env, prefix=str(tmp_path)).custom


def test_keys_of_other_services_and_settings_that_change_the_install_do_not_reach_uv(
    env: dict[str, str], tmp_path: Path
) -> None:
    own = {
        **env,
        "HF_TOKEN": "canary",
        "ANTHROPIC_API_KEY": "canary",
        "UV_PYTHON": "3.9",
        "UV_OVERRIDE": "/x",
        "UV_NO_VERIFY_HASHES": "1",
        "UV_PROJECT_ENVIRONMENT": "/x",
    }
    found = sources(own, prefix=str(tmp_path))
    assert "canary" not in found.env.values()
    assert not {"UV_PYTHON", "UV_OVERRIDE", "UV_NO_VERIFY_HASHES", "UV_PROJECT_ENVIRONMENT"} & set(found.env)


def test_passwords_are_taken_out_of_text_and_hidden_in_reprs(env: dict[str, str], tmp_path: Path) -> None:
    assert (
        redact("at https://joe:s3cret@x.test/simple and http://tok@y.test")
        == "at https://***@x.test/simple and http://***@y.test"
    )
    found = sources({**env, "PIP_INDEX_URL": "https://joe:s3cret@x.test"}, prefix=str(tmp_path))
    assert "s3cret" not in repr(found)


def test_a_damaged_file_says_nothing(env: dict[str, str], tmp_path: Path) -> None:
    assert not sources(with_file(env, tmp_path, "no section\n\x00"), prefix=str(tmp_path)).custom
