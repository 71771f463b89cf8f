"""The systemd unit: its text judged by systemd itself, its installation with a stand-in for systemctl."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stackctl import belongings, units
from stackctl.commands import service, uninstall
from stackctl.config import Flags
from stackctl.errors import ConfigError, NotRunningError, PreflightError, StackError
from tests.fakes.home import Home

# Notes what it was asked; says what systemd 252 says.
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
case "$2" in
  show) printf 'UnitFileState=enabled\\nActiveState=active\\nSubState=running\\nResult=success\\nStatusText=ready\\n' ;;
  enable) test ! -e "$(dirname "$0")/broken" || { echo 'Failed to connect to bus: No medium found' >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    found = Home(tmp_path)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    (tmp_path / "booted").mkdir()
    monkeypatch.setattr(units, "BOOTED", str(tmp_path / "booted"))
    for name in ("STACKCTL_CONFIG", "STACKCTL_NAME", "STACKCTL_MODEL", "STACKCTL_GATEWAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("STACKCTL_HOME", str(found.state))
    monkeypatch.setenv("STACKCTL_ENVS", str(found.envs))
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    monkeypatch.chdir(tmp_path)
    return found


def _asked(home: Home) -> list[str]:
    return (home.root / "bin" / "asked").read_text().splitlines()


def _install(home: Home, name: str = "coder", *, now: bool = False, dry_run: bool = False) -> str:
    file = home.config(name)
    outcome = service.install(Flags(config=str(file)), now=now, dry_run=dry_run)
    return str(outcome.data["file"])


def test_the_unit_passes_systemds_own_check(home: Home) -> None:
    text = Path(_install(home)).read_text()
    assert "Type=notify\n" in text
    assert "KillMode=mixed\n" in text
    assert f'"-m" "stackctl" "up" "--yes" "--name" "coder" "-c" "{home.root / "coder.yaml"}"\n' in text
    assert f'Environment="STACKCTL_HOME={home.state}"\n' in text
    assert "hf_canary" not in text
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        runtime = home.root / "run"
        runtime.mkdir(mode=0o700)
        done = subprocess.run(
            [analyze, "--user", "verify", units.path("coder")], env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, [line for line in done.stderr.splitlines() if "stackctl" in line]) == (0, [])


def test_odd_paths_survive_systemds_syntax() -> None:
    text = units.render("x", ["/a b/$p%h", 'say "\\"'], {"A": "1 $x %n"}, "/a b/%c")
    assert 'ExecStart="/a b/$$p%%h" "say \\"\\\\\\""\n' in text
    assert 'Environment="A=1 $x %%n"\n' in text
    assert "WorkingDirectory=/a b/%%c\n" in text
    with pytest.raises(ConfigError):
        units.render("x", ["/a\nExecStartPre=/bin/evil"], {}, "/")


def test_a_configuration_of_the_working_directory_is_not_named_so_that_trust_goes_on_counting(home: Home) -> None:
    home.config("here").rename(home.root / "stack.yaml")
    (home.root / "elsewhere").mkdir()
    home.run("trust")
    text = service.install(Flags(), now=False, dry_run=True).stdout
    assert '"--name" "here"\n' in text
    assert "stack.yaml" not in text
    assert f"WorkingDirectory={home.root}\n" in text


def test_install_enables_and_status_and_uninstall_undo_it(home: Home) -> None:
    file = _install(home, now=True)
    assert _asked(home) == [
        "--user daemon-reload", "--user enable stackctl-coder.service", "--user --no-block restart stackctl-coder.service"
    ]  # fmt: skip
    wants = Path(file).parent / "default.target.wants"
    wants.mkdir()
    (wants / "stackctl-coder.service").symlink_to(file)
    assert service.status("coder", None).data["StatusText"] == "ready"
    service.uninstall("coder", None)
    assert "--user disable --now stackctl-coder.service" in _asked(home)
    assert [each for each in Path(file).parent.rglob("*") if each != wants] == []
    for gone in (service.uninstall, service.status):
        with pytest.raises(NotRunningError):
            gone("coder", None)


def test_a_dry_run_writes_nothing_and_asks_nobody(home: Home) -> None:
    assert not os.path.exists(_install(home, dry_run=True))
    assert not (home.root / "bin" / "asked").exists()


def test_without_systemd_it_says_what_to_use_instead(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "BOOTED", str(home.root / "no"))
    with pytest.raises(PreflightError) as caught:
        _install(home)
    assert "stackctl up -d" in " ".join(caught.value.evidence)
    assert "wsl.conf" in " ".join(caught.value.evidence)
    assert not os.path.exists(units.path("coder"))


def test_what_systemctl_refuses_is_shown(home: Home) -> None:
    (home.root / "bin" / "broken").touch()
    with pytest.raises(StackError) as caught:
        _install(home)
    assert "No medium found" in caught.value.evidence[-1]


def test_a_unit_that_somebody_else_wrote_is_left(home: Home) -> None:
    os.makedirs(units.directory())
    Path(units.path("coder")).write_text("[Service]\n")
    with pytest.raises(ConfigError):
        _install(home)
    assert Path(units.path("coder")).read_text() == "[Service]\n"
    assert units.installed() == []


def test_uninstall_of_everything_takes_the_units_too(home: Home) -> None:
    file = _install(home)
    home.state.mkdir(mode=0o700, exist_ok=True)
    assert [each.path for each in belongings.services()] == [file]
    uninstall.run(uninstall.Request(models=False, settings=False, dry_run=False, yes=True))
    assert not os.path.exists(file)
    assert "--user disable --now stackctl-coder.service" in _asked(home)
