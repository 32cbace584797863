"""What one control group uses, in one hierarchy, as the kernel counts it; both versions of control groups.

The files are described in the kernel's admin-guide/cgroup-v1/cpuacct.rst, memory.rst and admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from pathlib import Path


def cpu_seconds(directory: Path) -> float | None:
    """Processor time used so far; None where this hierarchy does not count it."""
    try:
        return int((directory / "cpuacct.usage").read_text()) / 1e9
    except (OSError, ValueError):
        used = _table(directory / "cpu.stat").get("usage_usec")
        return None if used is None else used / 1e6


def working_set(directory: Path) -> int | None:
    """Bytes in use without what could be dropped at once, as the kubelet counts; None where it is not counted."""
    statistics = _table(directory / "memory.stat")
    for total, inactive in (("memory.usage_in_bytes", "total_inactive_file"), ("memory.current", "inactive_file")):
        try:
            return max(0, int((directory / total).read_text()) - statistics.get(inactive, 0))
        except (OSError, ValueError):
            continue
    return None


def _table(file: Path) -> dict[str, int]:
    """A file of lines ``NAME NUMBER``; empty when it is not there."""
    try:
        return {name: int(number) for name, number in (line.split() for line in file.read_text().splitlines())}
    except (OSError, ValueError):
        return {}
