"""What this machine says of itself, written down as plain JSON. Nothing is judged here, and nothing is changed."""

from __future__ import annotations

import glob
import os
import platform
import shutil
from typing import Any

from stackctl.host import free_on, nvidia

_PCI = "/sys/bus/pci/devices"
_GPU_CLASSES = ("0x0300", "0x0302")  # VGA and 3D controllers


def take(cache: str = "") -> dict[str, Any]:
    """All readings of this machine; each is there, empty where the machine has no such thing.

    `cache` is the directory that models are kept in, for the free space on its disk.
    """
    import psutil

    memory = psutil.virtual_memory()
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "release": platform.release(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        "cpuinfo": _cpuinfo(),
        "memory": {"total": memory.total, "available": memory.available},
        "cgroup": _cgroup(),
        "numa": _numa(),
        "shm_free": shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else None,  # noqa: S108 - read only
        "cache_free": free_on(cache) if cache else None,
        "nvml": nvidia.read(),
        "pci_nvidia": len(_pci("0x10de")),
        "amd": _amd(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "container": _container(),
    }


def _cpuinfo() -> dict[str, str]:
    """Model and flags of the first processor (x86 says `flags`, ARM `Features`)."""
    if platform.system() == "Darwin":
        return {"model": platform.processor() or platform.machine(), "flags": ""}
    found = {"model": "", "flags": ""}
    for line in _text("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        name = {"model name": "model", "flags": "flags", "Features": "flags"}.get(key.strip())
        if name and not found[name]:
            found[name] = value.strip()
        if all(found.values()):
            break
    return found


def _cgroup() -> list[dict[str, int]]:
    """Limit, use and droppable file cache of each control group that this process is in, version 2 or 1."""
    found = []
    for line in _text("/proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            root, names = "/sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file ")
        elif "memory" in controllers.split(","):
            root = "/sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
        else:
            continue
        here = os.path.normpath(f"{root}/{path}")
        while here.startswith(root):
            limit = _text(os.path.join(here, names[0])).strip()
            used = _text(os.path.join(here, names[1])).strip()
            if limit.isdigit() and used.isdigit():
                stat = _text(os.path.join(here, "memory.stat")).splitlines()
                cache = next((line.split()[1] for line in stat if line.startswith(names[2])), "0")
                found.append({"limit": int(limit), "used": int(used), "file_cache": int(cache)})
            here = os.path.dirname(here)
    return found


def _numa() -> list[dict[str, int]]:
    found = []
    for path in sorted(glob.glob("/sys/devices/system/node/node[0-9]*")):
        values = {
            words[2].rstrip(":"): int(words[3]) * 1024
            for line in _text(os.path.join(path, "meminfo")).splitlines()
            if len(words := line.split()) >= 4 and words[3].isdigit()
        }
        if values.get("MemTotal"):
            index = int(os.path.basename(path).removeprefix("node"))
            found.append({"index": index, "total": values["MemTotal"], "free": values.get("MemFree", 0)})
    return found


def _pci(vendor: str) -> list[str]:
    """The graphics cards of one maker on the PCI bus, driver or not."""
    try:
        devices = sorted(os.listdir(_PCI))
    except OSError:
        return []
    return [
        os.path.join(_PCI, each)
        for each in devices
        if _text(f"{_PCI}/{each}/vendor").strip() == vendor
        and _text(f"{_PCI}/{each}/class").strip()[:6] in _GPU_CLASSES
    ]


def _amd() -> list[dict[str, Any]]:
    """AMD's cards, from the files of the kernel's amdgpu driver (ROCm's own tools read the same ones)."""
    versions = {}
    for path in glob.glob("/sys/class/kfd/kfd/topology/nodes/*/properties"):
        values = dict(line.split(maxsplit=1) for line in _text(path).splitlines() if " " in line)
        if values.get("gfx_target_version", "0") != "0":
            # location_id is bus, device and function in 16 bits
            versions[(int(values.get("domain", 0)), int(values.get("location_id", 0)))] = values["gfx_target_version"]
    found = []
    for path in _pci("0x1002"):
        total = _text(f"{path}/mem_info_vram_total").strip()
        if not total.isdigit():
            continue
        domain, bus, rest = os.path.basename(path).split(":")
        device, function = rest.split(".")
        location = (int(bus, 16) << 8) | (int(device, 16) << 3) | int(function, 16)
        used = _text(f"{path}/mem_info_vram_used").strip()
        found.append(
            {
                "name": _text(f"{path}/product_name").strip(),
                "memory_total": int(total),
                "memory_used": int(used) if used.isdigit() else 0,
                "gfx_target_version": versions.get((int(domain, 16), location), ""),
            }
        )
    return found


def _container() -> str:
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if os.path.exists("/run/.containerenv"):
        return "podman"
    if os.path.exists("/.dockerenv"):
        return "docker"
    return "lxc" if os.environ.get("container") == "lxc" else ""  # noqa: SIM112 - systemd's name for it


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(1024 * 1024)
    except OSError:
        return ""
