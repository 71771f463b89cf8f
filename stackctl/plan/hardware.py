"""What a model could run on: the devices of a machine that vLLM can use together, and what they can compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from stackctl.host import Gpu, Host

Kind = Literal["cuda", "rocm", "cpu"]

_FP8_GPUS = ("gfx94", "gfx95", "gfx12")  # MI300, MI350, Radeon 9000: the ones with 8-bit floats in hardware


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU, or the processor with its memory; bytes. `capability` is CUDA's, `architecture` AMD's."""

    kind: Kind
    index: int
    name: str
    total: int
    free: int
    capability: tuple[int, int] = (0, 0)
    architecture: str = ""

    def runs(self, precision: str) -> bool:
        """Whether vLLM has kernels for weights of this precision here (its documentation, features/quantization).

        8-bit and 4-bit weights run on Ampere through Marlin, NVFP4 as it is meant only on Blackwell. Of the
        quantisations, the CPU build has AWQ, GPTQ and INT8.
        """
        if self.kind == "cpu":
            return precision in {"bf16", "int4", "int8"}
        if self.kind == "rocm":
            if precision in {"fp8", "mxfp8"}:
                return self.architecture.startswith(_FP8_GPUS)
            return precision in {"bf16", "int4", "int8"} or (
                precision == "mxfp4" and self.architecture.startswith(("gfx94", "gfx95"))
            )
        if precision == "nvfp4":
            return self.capability >= (10, 0)
        return self.capability >= ((7, 5) if precision == "int4" else (8, 0))

    @property
    def keeps_fp8(self) -> bool:
        """Whether the cache can be kept in 8 bits: Ada and later, and AMD's with 8-bit floats."""
        if self.kind == "rocm":
            return self.architecture.startswith(_FP8_GPUS)
        return self.kind == "cuda" and self.capability >= (8, 9)


def devices(host: Host, *, amd: bool = False) -> tuple[Device, ...]:
    """The devices of `host` that an engine would use, the one with the most free memory first.

    NVIDIA's cards, else the processor. AMD's only with `amd`: PyPI's vLLM is for CUDA, so they need an environment
    of the user's own. None on macOS, for which no build can be installed.
    """
    if host.is_mac:
        return ()
    cards = host.gpus or (host.amd if amd else ())
    if cards:
        return tuple(sorted((_device(card) for card in cards), key=lambda each: (-each.free, each.index)))
    name = host.cpu_model or host.machine
    # vLLM binds its memory to one NUMA node
    nodes = [node.memory_total for node in host.numa] or [host.memory_total]
    total = min(host.memory_total, max(nodes))
    return (Device("cpu", 0, name, total, min(total, host.memory_available)),)


def _device(card: Gpu) -> Device:
    return Device(
        "cuda" if card.vendor == "nvidia" else "rocm",
        card.index,
        card.name,
        card.memory_total,
        card.memory_free,
        card.compute_capability,
        card.architecture,
    )
