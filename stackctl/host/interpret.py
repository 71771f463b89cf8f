"""What the readings of a machine mean. Pure: the same readings always make the same Host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackctl.host import Gpu, Host, NumaNode

if TYPE_CHECKING:
    from collections.abc import Mapping

# What decides whether vLLM's CPU build runs, and how fast (its documentation asks for AVX-512; AVX2 is slower).
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "asimd", "bf16", "i8mm", "sve")
_NO_LIMIT = 1 << 60  # a control group of version 1 writes a number near 2^63 where it has none


def interpret(raw: Mapping[str, Any]) -> Host:
    """Make a Host of readings, recorded or just taken."""
    gpus, problem = _nvidia(raw)
    total, available, limited = _memory(raw)
    release = str(raw.get("release", "")).lower()
    info = raw.get("cpuinfo") or {}
    flags = set(str(info.get("flags", "")).split())
    return Host(
        system=raw["system"],
        machine=raw["machine"],
        cpus=raw["cpus"],
        memory_total=total,
        memory_available=available,
        shm_free=raw.get("shm_free"),
        gpus=gpus,
        gpu_problem=problem,
        amd=_amd(raw),
        cpu_model=str(info.get("model", "")),
        cpu_features=tuple(name for name in _CPU_FEATURES if name in flags),
        numa=tuple(NumaNode(each["index"], each["total"], each["free"]) for each in raw.get("numa", ())),
        memory_limited=limited,
        container=raw.get("container", ""),
        wsl="microsoft" in release,
        cache_free=raw.get("cache_free"),
    )


def _memory(raw: Mapping[str, Any]) -> tuple[int, int, bool]:
    """Total and available, within the tightest control group that this runs in."""
    total, available = raw["memory"]["total"], raw["memory"]["available"]
    limited = False
    for group in raw.get("cgroup", ()):
        if group["limit"] >= min(total, _NO_LIMIT):
            continue
        limited = True
        total = group["limit"]
        available = min(available, max(0, group["limit"] - group["used"] + group["file_cache"]))
    return total, min(available, total), limited


def _nvidia(raw: Mapping[str, Any]) -> tuple[tuple[Gpu, ...], str]:
    """The usable GPUs, and why one that is there is not usable."""
    nvml = raw.get("nvml") or {"error": "missing"}
    error = nvml.get("error")
    if error == "missing":
        return (), _without_driver(raw)
    if error and "version mismatch" in error:  # NVML's words for it; its library is new, the kernel module old
        return (), f"the NVIDIA driver was updated, and the one of before is still loaded ({error}): reboot"
    if error:
        return (), f"the NVIDIA driver does not answer: {error}"
    found, lost = [], []
    for each in nvml["devices"]:
        if "error" in each:
            lost.append(f"GPU {each['index']}: {each['error']}")
            continue
        major, minor = each["compute_capability"]
        found.append(
            Gpu(
                index=each["index"],
                name=each["name"],
                memory_total=each["memory_total"],
                memory_free=each["memory_free"],
                driver=nvml["driver"],
                compute_capability=(major, minor),
                uuid=each.get("uuid", ""),
            )
        )
    problem = f"the NVIDIA driver does not answer for {'; '.join(lost)}" if lost else ""
    return tuple(_visible(found, raw.get("visible"))), problem


def _without_driver(raw: Mapping[str, Any]) -> str:
    count = raw.get("pci_nvidia", 0)
    if not count:
        return ""
    cards = "an NVIDIA GPU is" if count == 1 else f"{count} NVIDIA GPUs are"
    if raw.get("container"):
        return f"{cards} on the bus, but this container was not given the driver (docker run --gpus all)"
    return f"{cards} on the bus, but no NVIDIA driver is installed"


def _visible(gpus: list[Gpu], named: str | None) -> list[Gpu]:
    """What CUDA_VISIBLE_DEVICES leaves: indices or (parts of) UUIDs; NVML itself takes no notice of it.

    As CUDA does, everything after a name that is none is dropped.
    """
    if named is None:
        return gpus
    chosen: list[Gpu] = []
    for word in named.split(","):
        name = word.strip()
        found = [
            gpu for gpu in gpus if (name.isdigit() and gpu.index == int(name)) or (name and gpu.uuid.startswith(name))
        ]
        if not found:
            break
        chosen.append(found[0])
    return chosen


def _amd(raw: Mapping[str, Any]) -> tuple[Gpu, ...]:
    return tuple(
        Gpu(
            index=index,
            name=each.get("name") or "AMD GPU",
            memory_total=each["memory_total"],
            memory_free=max(0, each["memory_total"] - each["memory_used"]),
            driver="amdgpu",
            compute_capability=(0, 0),
            vendor="amd",
            architecture=_gfx(str(each.get("gfx_target_version", ""))),
        )
        for index, each in enumerate(raw.get("amd", ()))
    )


def _gfx(version: str) -> str:
    """The kernel writes gfx90a as 90010 and gfx1100 as 110000: two digits each for minor and stepping, in hex."""
    if not version.isdigit() or version == "0":
        return ""
    number = int(version)
    return f"gfx{number // 10000}{number // 100 % 100:x}{number % 100:x}"
