"""What NVML says, as plain data. NVML is NVIDIA's own library; it comes with the driver."""

from __future__ import annotations

import threading
from typing import Any

_PATIENCE = 5.0  # seconds; a driver whose GPU fell off the bus can hold a call for ever


def read() -> dict[str, Any]:
    """`{"devices": [...], "driver": ...}`, or `{"error": ...}` (`missing` where no library is installed).

    A device that cannot be read is there with its own `error`. Never raises, and never waits longer than 5 s.
    """
    found: dict[str, Any] = {"error": f"it did not answer within {_PATIENCE:.0f} s"}

    def work() -> None:
        answer = _read()
        found.clear()
        found.update(answer)

    thread = threading.Thread(target=work, name="nvml", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return dict(found)


def _read() -> dict[str, Any]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return {"error": "missing"}
    except (pynvml.NVMLError, OSError) as error:
        return {"error": str(error)}
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        return {"driver": driver, "devices": [_device(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]}
    except (pynvml.NVMLError, OSError) as error:
        return {"error": str(error)}
    finally:
        pynvml.nvmlShutdown()


def _device(pynvml: Any, index: int) -> dict[str, Any]:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        return {
            "index": index,
            "name": _text(pynvml.nvmlDeviceGetName(handle)),
            "uuid": _text(pynvml.nvmlDeviceGetUUID(handle)),
            "memory_total": int(memory.total),
            "memory_free": int(memory.free),
            "compute_capability": [int(major), int(minor)],
        }
    except pynvml.NVMLError as error:
        return {"index": index, "error": str(error)}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
