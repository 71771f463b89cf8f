"""A driver that was updated under a running stack, from files as NVIDIA's driver leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stackctl import driver
from stackctl.host.interpret import interpret
from tests.fakes import machines

if TYPE_CHECKING:
    from pathlib import Path


def put(root: Path, *, loaded: str = "", library: str = "", place: str = "usr/lib/x86_64-linux-gnu") -> str:
    """The files of a loaded module and of installed libraries below `root`."""
    if loaded:
        (root / "sys/module/nvidia").mkdir(parents=True, exist_ok=True)
        (root / "sys/module/nvidia/version").write_text(f"{loaded}\n")
    if library:
        (root / place).mkdir(parents=True, exist_ok=True)
        link = root / place / "libnvidia-ml.so.1"
        link.unlink(missing_ok=True)
        link.symlink_to(f"libnvidia-ml.so.{library}")
    return str(root)


def test_without_a_driver_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert driver.read(str(tmp_path)) == driver.Driver()
    assert driver.Watch(str(tmp_path)).notice() == ""
    assert driver.Watch().notice() == ""


@pytest.mark.parametrize("place", ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64"])
def test_module_and_library_are_read_from_their_files(tmp_path: Path, place: str) -> None:
    root = put(tmp_path, loaded="580.65.06", library="590.10", place=place)
    assert driver.read(root) == driver.Driver("580.65.06", "590.10")


def test_the_module_is_read_where_sysfs_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (builder)  Sun Jul 27\n"
    )
    assert driver.read(str(tmp_path)).loaded == "580.65.06"


def test_an_update_is_named_with_both_versions_and_what_to_do(tmp_path: Path) -> None:
    watch = driver.Watch(put(tmp_path, loaded="580.65.06", library="580.65.06"))
    assert watch.notice() == ""
    put(tmp_path, library="590.10.01")
    assert "updated from 580.65.06 to 590.10.01 while the stack ran" in watch.notice()
    assert "reboot" in watch.notice()
    put(tmp_path, loaded="590.10.01")
    assert "was 580.65.06 when the stack started and is 590.10.01 now: stackctl restart" in watch.notice()


@pytest.mark.parametrize("said", ["Driver/library version mismatch", "RM has detected an NVML/RM version mismatch."])
def test_a_machine_whose_driver_waits_for_a_reboot_says_so(said: str) -> None:
    machine = interpret(machines.readings("driver_broken") | {"nvml": {"error": said}})
    assert said in machine.gpu_problem
    assert machine.gpu_problem.endswith("reboot")
