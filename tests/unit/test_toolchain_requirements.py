"""What a machine lacks, found before a download."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from stackctl.model import ServiceKind, Status
from stackctl.toolchain import interpreter
from stackctl.toolchain.interpreter import Interpreter, choose
from stackctl.toolchain.requirements import Machine, requirements

if TYPE_CHECKING:
    from pathlib import Path

ENGINE, GATEWAY = ServiceKind.ENGINE, ServiceKind.GATEWAY


@dataclass
class Gpu:
    name: str = "NVIDIA RTX 4090"
    driver: str = "580.95.05"
    compute_capability: tuple[int, int] = (8, 9)


@dataclass
class Host:
    gpus: tuple[Gpu, ...] = ()
    free: int = 10**12

    def disk_free(self, path: str) -> int:
        assert path.startswith("/")
        return self.free


@pytest.fixture
def linux(tmp_path: Path) -> Machine:
    """A machine that has everything."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.12").touch()
    header = tmp_path / "include" / "python3.12" / "Python.h"
    header.parent.mkdir(parents=True)
    header.touch()
    python = Interpreter(str(tmp_path / "bin" / "python3.12"), "3.12", supported=True)
    return Machine("Linux", "x86_64", ("glibc", "2.36"), python, "/usr/bin/cc")


def causes(kind: ServiceKind, accelerator: str, host: Host, machine: Machine) -> dict[str, str]:
    found = requirements(kind, accelerator, host, machine)
    for each in found:
        assert each.status is Status.OK or each.remedy
    return {each.id.removeprefix("requirements."): each.cause for each in found if each.status is Status.FAIL}


@pytest.mark.parametrize(
    ("kind", "accelerator"), [(ENGINE, "cpu"), (ENGINE, "cuda"), (GATEWAY, "cpu"), (GATEWAY, "cuda")]
)
def test_a_machine_that_has_everything_is_fine(linux: Machine, kind: ServiceKind, accelerator: str) -> None:
    assert causes(kind, accelerator, Host((Gpu(),)), linux) == {}


def test_this_very_machine_is_judged_without_an_exception() -> None:
    assert requirements(ENGINE, "cpu", Host())


@pytest.mark.parametrize("system", ["Darwin", "Windows", "FreeBSD"])
def test_where_vllm_cannot_be_had_a_running_engine_can_be_named(linux: Machine, system: str) -> None:
    (only,) = requirements(ENGINE, "cpu", Host(), replace(linux, system=system))
    assert "vLLM cannot be installed on" in only.cause
    assert "url:" in only.remedy


def test_the_gateway_can_be_had_on_macos(linux: Machine) -> None:
    assert causes(GATEWAY, "cpu", Host(), replace(linux, system="Darwin", machine="arm64", libc=("", ""))) == {}


@pytest.mark.parametrize(
    ("libc", "words"), [(("glibc", "2.28"), "need glibc 2.31 and this system has 2.28"), (("", ""), "musl")]
)
def test_an_old_or_foreign_c_library_is_found(linux: Machine, libc: tuple[str, str], words: str) -> None:
    assert words in causes(ENGINE, "cpu", Host(), replace(linux, libc=libc))["glibc"]


def test_an_unknown_processor_has_no_wheels(linux: Machine) -> None:
    assert "riscv64" in causes(ENGINE, "cpu", Host(), replace(linux, machine="riscv64"))["platform"]


def test_an_interpreter_outside_the_range_is_found(linux: Machine) -> None:
    old = replace(linux, python=Interpreter("/usr/bin/python3.15", "3.15", supported=False))
    assert "3.15 is outside the range" in causes(ENGINE, "cpu", Host(), old)["python"]


def test_no_room_for_the_environment_is_found(linux: Machine) -> None:
    assert "3.4 GB" in causes(ENGINE, "cpu", Host(free=10**9), linux)["disk"]


def test_a_driver_too_old_for_the_wheels_cuda_is_found(linux: Machine) -> None:
    found = causes(ENGINE, "cuda", Host((Gpu(driver="570.211.01"),)), linux)
    assert list(found) == ["driver"]
    assert "570.211.01 is too old" in found["driver"]
    assert "580.65.06" in found["driver"]
    assert causes(ENGINE, "cuda", Host((Gpu(driver="580.65.06"),)), linux) == {}
    assert causes(GATEWAY, "cuda", Host((Gpu(driver="570.211.01"),)), linux) == {}


def test_triton_needs_a_compiler_and_headers_on_a_gpu_only(linux: Machine, tmp_path: Path) -> None:
    (tmp_path / "include" / "python3.12" / "Python.h").unlink()
    bare = replace(linux, compiler=None)
    assert set(causes(ENGINE, "cuda", Host((Gpu(),)), bare)) == {"compiler", "headers"}
    assert causes(ENGINE, "cpu", Host(), bare) == {}


def test_the_compiler_is_the_one_that_cc_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc -O2")
    assert Machine().compiler is None
    monkeypatch.setenv("CC", "sh -c")
    assert Machine().compiler


def test_the_running_interpreter_is_preferred_and_its_header_is_where_sysconfig_says() -> None:
    import sys
    import sysconfig

    found = choose()
    assert found.path == sys.executable
    assert found.minor == ".".join(platform.python_version_tuple()[:2])
    assert found.header == f"{sysconfig.get_path('include')}/Python.h"


def test_a_supported_interpreter_on_path_is_found_but_not_a_shim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("shims/python3.14", "bin/python3.12", "bin/python3.11"):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/shims:{tmp_path}/bin")
    assert choose((3, 15)) == Interpreter(str(tmp_path / "bin" / "python3.12"), "3.12", supported=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not interpreter.choose((3, 15)).supported
