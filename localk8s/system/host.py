"""What this host is: platform, processors, memory, disk, privileges. Looks, changes nothing.

Must not judge what it sees: whether it is enough is for those who know what is asked.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class HostFacts:
    """This host at one moment."""

    platform: str
    """As ``sys.platform`` spells it."""
    architecture: str
    """As Kubernetes spells it: ``amd64``, ``arm64``; the machine's own word when it is another."""
    cpus: int
    """Processors that this process may use."""
    memory_total: int
    """Bytes."""
    memory_available: int
    """Bytes that could be had without swapping."""
    disk_free: int
    """Bytes that this user may still write where clusters are kept."""
    root: bool
    """Whether this process may do everything (effective user 0)."""
    disk_total: int = 0
    """Bytes of the whole file system where clusters are kept; 0 when unknown."""


class Host:
    """Reads facts of the host this process runs on, when asked.

    Args:
        data: a directory (it need not exist yet) on the disk where clusters are kept.
    """

    def __init__(self, data: Path) -> None:
        self._data = data

    def facts(self) -> HostFacts:
        """The facts now; takes milliseconds."""
        import platform

        import psutil

        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(_existing(self._data)))
        machine = platform.machine()
        return HostFacts(
            platform=sys.platform,
            architecture=_ARCHITECTURES.get(machine.lower(), machine.lower()),
            cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            memory_total=memory.total,
            memory_available=memory.available,
            disk_free=disk.free,
            root=is_root(),
            disk_total=disk.total,
        )


def is_root() -> bool:
    """Whether this process's effective user is 0; False where there is no such thing."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _existing(path: Path) -> Path:
    """``path`` or the nearest parent of it that is there."""
    return next((place for place in (path, *path.parents) if place.exists()), Path(path.anchor or "."))
