"""What a user asks for. Recorded when a cluster is created; never changed silently afterwards. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from localk8s.model.errors import UsageError
from localk8s.model.hints import instead
from localk8s.model.names import check_cluster_name
from localk8s.model.quantities import GIB, MIB
from localk8s.model.versions import KubernetesVersion

MOST_NODES = 50


@dataclass(frozen=True, slots=True)
class NodeSize:
    """Bounds of one node. A None is "not bounded beyond what the host or the driver has"."""

    cpus: Decimal | None = None
    """Processors, such as 2 or 0.5."""
    memory: int | None = None
    """Bytes."""
    disk: int | None = None
    """Bytes."""


DEFAULT_NODE_SIZE = NodeSize(cpus=Decimal(2), memory=2 * GIB, disk=20 * GIB)
LEAST_MEMORY = 512 * MIB
LEAST_DISK = 256 * MIB


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """Everything that decides what a cluster is. Equal specs make equal clusters.

    Raises:
        UsageError: a value that no driver could satisfy.
    """

    name: str
    driver: str
    nodes: int = 1
    """All machines together, control planes included."""
    control_planes: int = 1
    size: NodeSize = DEFAULT_NODE_SIZE
    """Per node."""
    kubernetes_version: KubernetesVersion | None = None
    """None until the artifacts say which version a source can give; always set in a record."""
    artifacts: str | None = None
    """A directory or bundle that the user named (absolute), searched before every other source."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What only this driver has (``vm-driver``, ``provider``, ``cni``, …); the driver checks names and values."""
    typed: frozenset[str] = field(default=frozenset(), compare=False)
    """The sizes (``cpus``, ``memory``, ``disk-size``) that this command was asked for in so many words, be they the
    defaults: a driver that cannot give one refuses it. Not recorded, and no part of what a cluster is."""

    def __post_init__(self) -> None:
        check_cluster_name(self.name)
        if not 1 <= self.nodes <= MOST_NODES:
            raise UsageError(f"{self.nodes} nodes cannot be had: from 1 to {MOST_NODES}.", hint=instead("--nodes", "3"))
        if not 1 <= self.control_planes <= self.nodes:
            fits = str(min(MOST_NODES, max(1, self.control_planes)))
            raise UsageError(
                f"{self.control_planes} control planes do not fit {self.nodes} nodes.",
                hint=instead("--nodes", fits, "--control-planes", fits),
            )
        if self.size.memory is not None and self.size.memory < LEAST_MEMORY:
            raise UsageError("A node needs at least 512 MiB of memory.", hint=instead("--memory", "2g"))
        if self.size.disk is not None and self.size.disk < LEAST_DISK:
            raise UsageError("A node needs at least 256 MiB of disk.", hint=instead("--disk-size", "20g"))
