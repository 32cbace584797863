"""The size of a native node as the kernel holds it: set, read back, compared with what was asked for."""

from __future__ import annotations

import os

from localk8s.drivers.native.machine import NativeNode
from localk8s.model.errors import PrerequisiteError
from localk8s.model.hints import command, host_command
from localk8s.model.quantities import format_size
from localk8s.model.spec import ClusterSpec

_DATA = "/var/lib"
"""A directory on every node's own disk."""
_LEAST_SHARE = 0.7
"""Of a disk's bytes, what at least is left beside the tables and the journal of an ext4 of 256 MiB and more."""


def enforce(node: NativeNode, spec: ClusterSpec) -> None:
    """Bound the processors and memory of a node that runs, and look at its disk.

    Raises:
        PrerequisiteError: the kernel holds another size than ``spec`` has; the message names it.
    """
    whose = f"node {node.name}"
    try:
        node.group.bound(cpus=spec.size.cpus, memory=spec.size.memory, of=whose)
    except PrerequisiteError as exc:
        if isinstance(exc.__cause__, OSError):  # the kernel refuses to take away what is in use
            exc.hint = command("stop", cluster=spec.name)
        raise
    if spec.size.disk is not None:
        file_system = os.statvfs(node.outside(_DATA))
        check_disk(file_system.f_blocks * file_system.f_frsize, spec.size.disk, of=whose)


def check_disk(held: int, asked: int, *, of: str) -> None:
    """Compare the bytes of a node's file system with the size of the disk it is on.

    Args:
        held: as the kernel counts them, without tables and journal.
        asked: the disk's size.
        of: whose disk it is.

    Raises:
        PrerequisiteError: it holds more, or much less.
    """
    if not _LEAST_SHARE * asked <= held <= asked:
        raise PrerequisiteError(
            f"The disk of {of} is not {format_size(asked)}: the kernel counts {format_size(held)}.", hint=host_command("doctor")
        )
